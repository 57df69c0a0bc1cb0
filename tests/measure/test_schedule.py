"""Which cells get another session, and which first."""

from dataclasses import replace

from perfsuite.core.matrix import Cell
from perfsuite.core.verdict import Interval, Judgement, Outcome, Verdict
from perfsuite.measure.schedule import undecided
from tests.builders import make_cell, make_verdict

OPEN = replace(make_verdict(Outcome.INCONCLUSIVE), sessions_help=True)
PASSED = make_verdict(Outcome.PASSED)


def judgement(prompt: int, *verdicts: Verdict) -> Judgement:
    return Judgement(cell=make_cell(prompt=prompt), verdicts=verdicts)


def with_low(low: float, tolerance: float = 0.05) -> Verdict:
    return replace(OPEN, interval=Interval(low=low, high=0.5), tolerance=tolerance)


def prompts(cells: tuple[Cell, ...]) -> list[int]:
    return [cell.workload.prompt_tokens for cell in cells]


def test_only_cells_with_an_open_verdict_get_another_session() -> None:
    judgements = [judgement(10, PASSED), judgement(20, PASSED, OPEN), judgement(30, make_verdict(Outcome.REGRESSED))]
    assert prompts(undecided(judgements, {}, limit=6)) == [20]


def test_a_verdict_that_sessions_cannot_decide_gets_none() -> None:
    assert undecided([judgement(10, replace(OPEN, sessions_help=False))], {}, limit=6) == ()


def test_a_cell_with_as_many_usable_sessions_as_the_limit_gets_none() -> None:
    judgements = [judgement(count, replace(OPEN, candidate_sessions=count)) for count in (5, 6)]
    done = {make_cell(prompt=count).id: count for count in (5, 6)}
    assert prompts(undecided(judgements, done, limit=6)) == [5]


def test_void_sessions_are_measured_again_twice() -> None:
    judgements = [judgement(count, replace(OPEN, candidate_sessions=5)) for count in (7, 8)]
    done = {make_cell(prompt=count).id: count for count in (7, 8)}
    assert prompts(undecided(judgements, done, limit=6)) == [7]


def test_the_cell_closest_to_a_fail_comes_first() -> None:
    judgements = [judgement(10, with_low(-0.02)), judgement(20, with_low(0.03)), judgement(30, with_low(0.01))]
    assert prompts(undecided(judgements, {}, limit=6)) == [20, 30, 10]


def test_closeness_is_measured_in_tolerances() -> None:
    judgements = [judgement(10, with_low(0.03, tolerance=0.10)), judgement(20, with_low(0.02, tolerance=0.05))]
    assert prompts(undecided(judgements, {}, limit=6)) == [20, 10]


def test_the_worst_open_verdict_of_a_cell_counts_for_it() -> None:
    judgements = [judgement(10, with_low(0.01)), judgement(20, with_low(-0.5), with_low(0.02), PASSED)]
    assert prompts(undecided(judgements, {}, limit=6)) == [20, 10]


def test_equally_close_cells_keep_their_order() -> None:
    assert prompts(undecided([judgement(n, OPEN) for n in (30, 10, 20)], {}, limit=6)) == [30, 10, 20]


def test_a_verdict_without_an_interval_comes_last() -> None:
    judgements = [judgement(10, replace(OPEN, interval=None)), judgement(20, with_low(-1.0))]
    assert prompts(undecided(judgements, {}, limit=6)) == [20, 10]
