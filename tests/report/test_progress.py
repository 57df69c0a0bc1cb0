"""The words of progress."""

from dataclasses import replace

import pytest

from perfsuite.core.options import MeasureOptions
from perfsuite.core.sample import Failure
from perfsuite.measure.session import Progress, SessionJob
from perfsuite.report.progress import beside, cell_line, expected_ns, progress_line, title
from tests.builders import make_cell, make_recording

S = 10**9
JOB = SessionJob(reference="x:Y", cells=(make_cell(prompt=10), make_cell()), session=1, measure=MeasureOptions())


def line(progress: Progress, elapsed_ns: int = 12 * S, expected: int | None = None, width: int = 200) -> str:
    return beside([progress_line(JOB, progress, elapsed_ns, expected)], width)


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress(stage="load"), "perf eager/tiny session 2: load, 12.0 s"),
        (Progress(stage="warm-up", cell=1), "perf eager/tiny session 2: p100-o4 warm-up, 12.0 s"),
        (
            Progress(stage="measure", cell=1, done=60, total=320, p50_ns=4.31e6, half_ns=0.02e6),
            "perf eager/tiny session 2: p100-o4 measure 60/320, TTFT P50 4.31 ± 0.020 ms, 12.0 s",
        ),
        (
            Progress(stage="measure", cell=0, done=0, total=320, p50_ns=4.31e6),
            "perf eager/tiny session 2: p10-o4 measure 0/320, TTFT P50 4.31 ms, 12.0 s",
        ),
    ],
)
def test_the_line_says_cell_phase_count_level_and_time(progress: Progress, text: str) -> None:
    assert line(progress) == text


def test_the_expected_time_stands_beside_the_elapsed_one() -> None:
    assert line(Progress(stage="load"), expected=45 * S).endswith("load, 12.0 s of about 45.0 s")


def test_a_line_is_never_wider_than_the_terminal() -> None:
    assert line(Progress(stage="warm-up", cell=1), width=20) == "perf eager/tiny sess"


@pytest.mark.parametrize(
    ("done", "began_s", "elapsed_s", "before_s", "expected"),
    [
        (80, 10, 20, None, 50 * S),
        (0, 10, 11, 45, 45 * S),
        (0, None, 5, 45, 45 * S),
        (0, None, 5, None, None),
        (320, 10, 50, 45, 50 * S),
    ],
    ids=["a quarter in ten seconds", "just begun", "loading", "the first session", "all measured"],
)
def test_the_expected_time_follows_from_the_share_that_is_measured(
    done: int, began_s: int | None, elapsed_s: int, before_s: int | None, expected: int | None
) -> None:
    progress = Progress(stage="measure", cell=0, done=done, total=320)
    began = None if began_s is None else began_s * S
    assert expected_ns(progress, began, elapsed_s * S, None if before_s is None else before_s * S) == expected


def test_a_cell_is_told_with_its_level_and_its_count() -> None:
    assert cell_line(make_recording(session=1)) == ("perf eager/tiny/p100-o4 session 2: TTFT P50 40.0 ± 0 ms, n=20")


def test_a_broken_cell_is_told_with_its_first_failure_in_one_line() -> None:
    broken = make_recording(n=0, decode=0, failures=(Failure(stage="open", message="no room\non the GPU"),) * 2)
    assert cell_line(broken) == "perf eager/tiny/p100-o4 session 1: 2 failures, the first: no room on the GPU"


def test_samples_set_aside_are_counted() -> None:
    made = make_recording()
    assert cell_line(replace(made, set_aside=made.samples[:1])).endswith("n=20, 1 sample set aside")


def test_a_session_is_told_with_the_number_of_its_cells() -> None:
    assert title(JOB) == "perf eager/tiny session 2, 2 cells"


def test_where_there_are_several_places_the_title_says_which() -> None:
    assert title(JOB, "cuda:1") == "perf eager/tiny session 2, 2 cells on cuda:1"


def test_sessions_side_by_side_share_the_line() -> None:
    line = beside(["perf eager/tiny session 1 on cuda:0: load, 12.0 s", "perf jit/tiny session 1 on cuda:1: load"], 63)
    assert line == "perf eager/tiny session 1 on c | perf jit/tiny session 1 on cud"
