"""Owns the words of progress: which cell, which phase, how far and how sure, how long it took and may take."""

from collections.abc import Sequence

from perfsuite.core.metrics import SERIES
from perfsuite.core.recording import Recording
from perfsuite.core.statistics import summarize
from perfsuite.core.units import format_ms, format_seconds
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.session import Progress, SessionJob
from perfsuite.report.headings import counted

BETWEEN = " | "


def title(job: SessionJob, place: str = "") -> str:
    """'perf eager/tiny session 2, 9 cells', and ' on cuda:1' where there are several places."""
    return f"{_arm(job)} session {job.session + 1}, {counted(len(job.cells), 'cell')}{_on(place)}"


def progress_line(
    job: SessionJob, progress: Progress, elapsed_ns: int, expected_ns: int | None, place: str = ""
) -> str:
    """'perf eager/tiny session 2: p100-o32 measure 60/320, TTFT P50 4.31 ± 0.02 ms, 12.1 s of about 45.0 s'."""
    cell = f"{job.cells[progress.cell].workload.slug} " if progress.cell is not None else ""
    count = f" {progress.done}/{progress.total}" if progress.total else ""
    level = f", {_level(progress.p50_ns, progress.half_ns)}" if progress.p50_ns is not None else ""
    whole = f" of about {format_seconds(expected_ns)}" if expected_ns else ""
    told = f"{_arm(job)} session {job.session + 1}{_on(place)}: {cell}{progress.stage}{count}{level}, "
    return f"{told}{format_seconds(elapsed_ns)}{whole}"


def beside(lines: Sequence[str], width: int) -> str:
    """The lines of sessions side by side as one of at most `width` columns: one that wraps cannot be rewritten."""
    each = max(1, (width - len(BETWEEN) * (len(lines) - 1)) // len(lines))
    return BETWEEN.join(line[:each] for line in lines)[: max(1, width)]


def _on(place: str) -> str:
    return f" on {place}" if place else ""


def cell_line(recording: Recording) -> str:
    """'perf eager/tiny/p100-o32 session 2: TTFT P50 4.31 ± 0.02 ms, n=320'; of a broken cell its first failure."""
    where = f"perf {recording.cell.id} session {recording.session + 1}"
    times = SERIES["ttft"].values(recording)
    told = []
    if times:
        middle = summarize(times, together=recording.together).p50
        told += [_level(middle.value or 0.0, middle.half_width), f"n={len(times)}"]
    if recording.set_aside:
        told.append(f"{counted(len(recording.set_aside), 'sample')} set aside")
    if recording.failures:
        first = " ".join(recording.failures[0].message.split())
        told.append(f"{counted(len(recording.failures), 'failure')}, the first: {first}")
    return f"{where}: {', '.join(told) or 'no samples'}"


def expected_ns(
    progress: Progress, began_measuring_ns: int | None, elapsed_ns: int, before_ns: int | None
) -> int | None:
    """How long the whole session may take: by the share that is measured, else as long as the one before.

    Both times count from the session's start; `None` where nothing tells.
    """
    if began_measuring_ns is None or not progress.done or not progress.total:
        return before_ns
    measuring_ns = elapsed_ns - began_measuring_ns
    return began_measuring_ns + round(measuring_ns * progress.total / progress.done)


def _arm(job: SessionJob) -> str:
    return f"perf {job.cells[0].strategy_slug}/{job.cells[0].model.slug}"


def _level(p50_ns: float, half_ns: float | None) -> str:
    width = "" if half_ns is None else f" ± {format_ms(half_ns)}"
    return f"TTFT P50 {format_ms(p50_ns)}{width} ms"


def end_words(end: SessionEnd) -> str:
    """How a session ended, as it is told beside its time."""
    failures = sum(len(recording.failures) for recording in end.recordings)
    if end.lost:
        return "ended, as the device was lost,"
    if end.recordings:
        return f"done, {failures} requests failed" if failures else "done"
    return "failed" if end.died or end.broken else "not possible"


def problem_of(end: SessionEnd) -> str:
    """Why a session has no recordings."""
    return end.refused or end.unavailable or end.broken or end.died or "the worker ended without a word"
