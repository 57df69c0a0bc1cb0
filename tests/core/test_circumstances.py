"""What else changed since a baseline is told of cells that got slower, and of nothing else."""

from dataclasses import replace

import pytest

from perfsuite.core.baseline import Baseline
from perfsuite.core.circumstances import changes, circumstances
from perfsuite.core.twin import IN_TURNS
from perfsuite.core.verdict import Judgement, Outcome, Verdict
from perfsuite.report.circumstances import circumstance_lines
from tests.builders import make_recording

STORED = {"transformers": "5.16.0", "triton": "3.6.0", "uuid": "GPU-1", "container": "docker", "node": "a"}
NOTES = ("attention: sdpa", "rewrites: join one row 129", "compile cache: cold", "ready")


def noting(noted=None, notes=NOTES, **others):
    plain = make_recording(**others)
    environment = replace(plain.environment, noted={**STORED, **(noted or {})})
    return replace(plain, environment=environment, evidence=replace(plain.evidence, notes=notes))


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (noting(), ()),
        (noting({"transformers": "5.17.0"}), ("transformers 5.16.0 -> 5.17.0",)),
        (noting({"vllm": "0.25.1"}), ("vllm none -> 0.25.1",)),
        (noting({"governor": "powersave"}), ()),  # at the time of the baseline nobody looked
        (noting({"uuid": "GPU-2", "node": "b"}), ("another GPU of the product",)),
        (
            noting(notes=("attention: sdpa", "rewrites: join one row 0")),
            ("rewrites join one row 129 -> join one row 0",),
        ),
        (noting(notes=(*NOTES[:2], "compile cache: warm")), ()),
        (replace(noting(), injected_slowdown=0.05), ("--perf-inject-slowdown 5 %",)),
    ],
)
def test_a_change_is_told_by_name(now, told):
    assert changes([noting()], [now]) == told


def test_a_package_that_is_gone_is_told():
    now = noting()
    without = {name: version for name, version in STORED.items() if name != "triton"}
    now = replace(now, environment=replace(now.environment, noted=without))
    assert changes([noting()], [now]) == ("triton 3.6.0 -> none",)


def test_what_one_session_of_the_baseline_had_is_no_change():
    stored = [noting(), noting({"transformers": "5.17.0"})]
    assert changes(stored, [noting({"transformers": "5.17.0"})]) == ()
    assert changes(stored, [noting({"transformers": "5.18.0"})]) == ("transformers 5.16.0 and 5.17.0 -> 5.18.0",)


def judged(cell, outcome, mode="raw"):
    return Judgement(cell=cell, verdicts=(Verdict(metric="ttft.p50", outcome=outcome, tolerance=0.05, mode=mode),))


def lines_of(cells, outcome, now, commit="0123456789abcdef", **kind):
    baselines = {
        cell: Baseline(cell=cell, commit=commit, saved_at="2026-11-22T10:00:00Z", recordings=(noting(cell=cell),))
        for cell in cells
    }
    recordings = {cell: (replace(now, cell=cell),) for cell in cells}
    found = circumstances([judged(cell, outcome, **kind) for cell in cells], baselines, recordings)
    return [line.text for line in circumstance_lines(found)]


@pytest.fixture
def cells():
    cell = make_recording().cell
    return [replace(cell, workload=replace(cell.workload, prompt_tokens=length)) for length in (10, 50, 100)]


def test_cells_of_one_baseline_and_one_change_share_a_line(cells):
    assert lines_of(cells, Outcome.REGRESSED, noting({"transformers": "5.17.0"})) == [
        f"{cells[0].id} and 2 more cells: since the baseline of 2026-11-22 (commit 0123456789ab) also changed: "
        "transformers 5.16.0 -> 5.17.0"
    ]


def test_where_nothing_changed_the_code_is_left(cells):
    assert lines_of(cells[:1], Outcome.REGRESSED, noting(), commit="unknown") == [
        f"{cells[0].id}: since the baseline of 2026-11-22 no version or setting that is noted has changed: look at the "
        "code since then"
    ]


def test_nothing_is_told_of_cells_that_are_not_slower_or_were_judged_in_turns(cells):
    now = noting({"transformers": "5.17.0"})
    assert lines_of(cells, Outcome.PASSED, now) == lines_of(cells, Outcome.INCONCLUSIVE, now) == []
    assert lines_of(cells, Outcome.REGRESSED, now, mode=IN_TURNS) == []
