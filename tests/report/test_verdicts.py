from collections.abc import Iterable
from dataclasses import replace

from perfsuite.core.matrix import Cell
from perfsuite.core.verdict import Judgement, Outcome
from perfsuite.report.layout import Line
from perfsuite.report.verdicts import Commands, verdicts
from tests.builders import make_cell, make_verdict

CELL = make_cell()


def texts(lines: Iterable[Line]) -> list[str]:
    return [line.text for line in lines]


def judged(outcome: Outcome, cell: Cell, change: float, metric: str = "ttft.p50") -> Judgement:
    verdict = replace(make_verdict(outcome, metric), change=change)
    return Judgement(cell=cell, verdicts=(verdict,))


COMMANDS = Commands(reproduce=lambda cell: f"again {cell.id}", save=lambda cell: f"save {cell.id}", save_all="all")


def test_of_one_outcome_the_change_furthest_over_its_tolerance_comes_first() -> None:
    slow, slower = make_cell(prompt=10), make_cell(prompt=20)
    found = texts(verdicts((judged(Outcome.REGRESSED, slow, 0.1), judged(Outcome.REGRESSED, slower, 0.3)), COMMANDS))
    assert [line.partition(":")[0] for line in found if "regressed 4" in line] == [slower.id, slow.id]


def test_the_lines_of_a_cell_stay_together() -> None:
    mixed, other = make_cell(prompt=10), make_cell(prompt=20)
    own = Judgement(
        cell=mixed,
        verdicts=(
            replace(make_verdict(Outcome.REGRESSED), change=0.1),
            replace(make_verdict(Outcome.REGRESSED, "tpot.p50"), change=0.4),
        ),
    )
    found = texts(verdicts((own, judged(Outcome.REGRESSED, other, 0.2)), COMMANDS))
    assert [line.partition(" regressed")[0] for line in found if "regressed 4" in line] == [
        f"{mixed.id}: TPOT P50",
        f"{mixed.id}: TTFT P50",
        f"{other.id}: TTFT P50",
    ]


def test_what_passed_keeps_the_order_of_its_cells() -> None:
    first, second = make_cell(prompt=10), make_cell(prompt=20)
    found = texts(verdicts((judged(Outcome.PASSED, first, 0.01), judged(Outcome.PASSED, second, 0.04)), COMMANDS))
    assert [line.partition(":")[0] for line in found[:2]] == [first.id, second.id]


def test_an_undecided_cell_has_the_command_that_measures_it_again_and_none_that_saves_it() -> None:
    found = texts(verdicts((judged(Outcome.INCONCLUSIVE, CELL, 0.1),), COMMANDS))
    assert found[1] == f"  reproduce: again {CELL.id}"
    assert not [line for line in found if "save" in line]


def test_a_cell_has_its_commands_once() -> None:
    verdict = make_verdict(Outcome.INCONCLUSIVE, "ttft.p99")
    own = Judgement(cell=CELL, verdicts=(make_verdict(), verdict))
    found = texts(verdicts((own,), COMMANDS))
    assert [line.strip().partition(":")[0] for line in found if line.startswith("  ")] == [
        "reproduce",
        "if it is intended",
    ]


def test_brief_lines_have_no_commands() -> None:
    found = texts(verdicts((judged(Outcome.REGRESSED, CELL, 0.1),), COMMANDS, brief=True))
    assert [line for line in found if line.startswith("  ")] == []
    assert len(found) == 2
