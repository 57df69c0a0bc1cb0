from dataclasses import replace

from perfsuite.core.options import Options
from perfsuite.core.verdict import Judgement, Outcome
from perfsuite.report.markdown import MOST_BYTES, markdown
from perfsuite.report.run import Run
from tests.builders import make_baseline, make_cell, make_recording, make_verdict

CALM, SLOW, FAST = make_cell(prompt=10), make_cell(prompt=50), make_cell(prompt=400)


def run_of(cells: int = 3, **outcomes: str) -> Run:
    judged = {
        CALM: make_verdict(Outcome.PASSED),
        SLOW: make_verdict(Outcome.REGRESSED, reason="3 of 3 sessions | all"),
        FAST: make_verdict(Outcome.IMPROVED),
    }
    return Run(
        options=Options(),
        recordings={cell: (make_recording(cell, n=300),) for cell in judged},
        judgements=tuple(Judgement(cell=cell, verdicts=(verdict,)) for cell, verdict in judged.items()),
        notes=("a <note>",),
        command="pytest --perf",
        reproduce=lambda cell: f"pytest -k '[{cell.id}'",
    )


def lines() -> list[str]:
    return markdown(run_of()).splitlines()


def test_the_heading_counts_the_outcomes_worst_first() -> None:
    assert lines()[0] == "## perfsuite: ▲ 1 regressed, ● 1 passed, ▼ 1 improved"


def test_changed_cells_stand_before_all_cells() -> None:
    found = lines()
    changed = found[found.index("### Changed") : found.index("<details><summary>All 3 cells</summary>")]
    named = [line.split("|")[2].strip() for line in changed if "eager/" in line and line.startswith("|")]
    assert named == [f"`{SLOW.id}`", f"`{FAST.id}`"]


def test_a_changed_cell_has_levels_change_interval_and_n() -> None:
    (row,) = (line for line in lines() if line.startswith("| ▲") and "41.2" in line)
    cells = [cell.strip() for cell in row.replace(r"\|", "¦").split("|")[3:-1]]
    assert cells[:6] == ["TTFT P50", "41.2 ms", "47.9 ms", "**+16.3 %**", "+12.1..+20.4 %", "5 %"]
    assert cells[6:] == ["50 vs 5x50", "regressed: 3 of 3 sessions ¦ all"]


def test_what_else_changed_since_the_baseline_of_a_slower_cell_is_told() -> None:
    before, now = (
        replace(recording, environment=replace(recording.environment, noted={"transformers": version}))
        for recording, version in ((make_recording(SLOW), "5.16.0"), (make_recording(SLOW), "5.17.0"))
    )
    run = run_of()
    run = replace(run, baselines={SLOW: make_baseline(before)}, recordings={**run.recordings, SLOW: (now,)})
    (told,) = (line for line in markdown(run).splitlines() if "since the baseline" in line)
    assert told.startswith(f"- {SLOW.id}: since the baseline of ")
    assert told.endswith(" also changed: transformers 5.16.0 -> 5.17.0")
    assert "since the baseline" not in markdown(run_of())


def test_the_command_that_measures_a_failing_cell_again_is_there() -> None:
    assert f"pytest -k '[{SLOW.id}'" in lines()
    assert f"pytest -k '[{CALM.id}'" not in lines()


def test_every_cell_stands_in_the_folded_table_the_changed_ones_first() -> None:
    found = lines()
    begin = found.index("<details><summary>All 3 cells</summary>")
    rows = [line.split("|")[1:6] for line in found[begin:] if line.startswith("| ") and "eager/" in line]
    assert [row[0].strip() for row in rows] == ["▲", "▼", "●"]
    assert [cell.strip() for cell in rows[0][1:]] == [f"`{SLOW.id}`", "40.0", "40.0", "2.00"]
    assert "</details>" in found[begin:]


def test_text_cannot_start_a_tag() -> None:
    assert "- a &lt;note>" in lines()


def test_a_summary_stays_below_its_limit_and_says_what_was_cut() -> None:
    whole = len(markdown(run_of()).encode())
    text = markdown(run_of(), most_bytes=whole)
    assert len(text.encode()) <= whole
    assert "more cells; --perf-json has all." in text
    assert text.count("<details>") == text.count("</details>")


def test_500_cells_that_all_regressed_stay_below_the_limit_of_github() -> None:
    cells = [make_cell(prompt=length) for length in range(1, 501)]
    reason = "to decide: " + "many words " * 40
    verdicts = tuple(
        make_verdict(Outcome.REGRESSED, metric, reason=reason) for metric in ("ttft.p50", "tpot.p50", "e2e.p50")
    )
    run = Run(
        options=Options(),
        recordings={cell: (make_recording(cell),) for cell in cells},
        judgements=tuple(Judgement(cell=cell, verdicts=verdicts) for cell in cells),
    )
    text = markdown(run)
    assert len(text.encode()) < MOST_BYTES
    assert "… and 1300 more gates; --perf-json has all." in text
    assert f"`{cells[-1].id}` | 40.0 |" in text


def test_without_verdicts_the_cells_are_shown() -> None:
    text = markdown(Run(options=Options(), recordings={CALM: (make_recording(CALM),)}))
    assert text.startswith("## perfsuite: 1 cell measured, nothing judged")
    assert CALM.id in text


def test_text_that_no_file_can_hold_is_counted() -> None:
    assert "\ud800" in markdown(replace(run_of(), notes=("\ud800",)))
