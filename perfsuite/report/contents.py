"""Owns what is said of one stored cell below its table: when, where and how it was measured, and what proves it."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from statistics import median

from perfsuite.core.baseline import Baseline
from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Evidence, Recording
from perfsuite.core.units import format_seconds
from perfsuite.core.validity import problems
from perfsuite.report.headings import counted
from perfsuite.report.layout import Line


def contents(cell: Cell, recordings: Sequence[Recording], baseline: Baseline | None = None) -> tuple[Line, ...]:
    """The cell's sessions and their time, what a baseline adds, environment, startup, evidence, and what is wrong."""
    times = sorted(recording.started_at for recording in recordings)
    heading = f"{cell.id}: {counted(len(recordings), 'session')}, {times[0]} to {times[-1]}"
    texts = (
        *_of_baseline(baseline),
        f"environment: {_pairs(recordings[0].environment.must_agree.items())}",
        f"noted: {_pairs(recordings[0].environment.noted.items())}",
        f"startup: {_startup(recordings)}",
        f"evidence: {_evidence(recordings[0].evidence)}",
    )
    wrong = dict.fromkeys(problem for recording in recordings for problem in problems(recording))
    return (
        Line(heading, "bold"),
        *(Line(f"  {' '.join(text.split())}") for text in texts if not text.endswith(": ")),
        *(Line(f"  problem: {' '.join(problem.split())}", "red") for problem in wrong),
    )


def _of_baseline(baseline: Baseline | None) -> tuple[str, ...]:
    if baseline is None:
        return ()
    divided = {key: mode.label for key, mode in baseline.modes.items() if mode.canary is not None}
    later = f", {counted(len(baseline.later), 'later session')} that tell of the noise" if baseline.later else ""
    return (
        f"saved: {baseline.saved_at}, commit {baseline.commit}{later}",
        f"divided by a canary: {_pairs(divided.items())}",
    )


def _pairs(items: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {text}" for name, text in items)


def _startup(recordings: Sequence[Recording]) -> str:
    """'load 2.00 s, first call 0.50 s': medians over the sessions."""
    times: dict[str, list[int]] = {}
    for recording in recordings:
        for phase in recording.startup:
            times.setdefault(phase.name, []).append(phase.duration_ns)
    return ", ".join(f"{name} {format_seconds(median(own))}" for name, own in times.items())


def _evidence(evidence: Evidence) -> str:
    """'graphs captured 2, graphs replayed 4096, attention: sdpa'; what the strategy does not have is left out."""
    counts = [(f.name.replace("_", " "), getattr(evidence, f.name)) for f in fields(evidence) if f.name != "notes"]
    return ", ".join((*(f"{name} {count}" for name, count in counts if count is not None), *evidence.notes))
