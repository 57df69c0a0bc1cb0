"""Owns the words for levels that drifted over the stored history: one line per cell and metric, none a verdict."""

from collections.abc import Callable, Sequence

from perfsuite.core.drift import Drift
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import parse_metric
from perfsuite.core.units import format_change
from perfsuite.report.layout import Line


def drifts(found: Sequence[Drift], save: Callable[[Cell], str]) -> tuple[Line, ...]:
    """`save` is the command that records a cell's baseline."""
    return tuple(Line(_text(drift, save(drift.cell)), "yellow") for drift in found)


def _text(drift: Drift, command: str) -> str:
    label = parse_metric(drift.metric, where="drift").label
    where = f"since {drift.since[:10]} (day {drift.day} of {drift.days}, session {drift.session} of {drift.sessions})"
    sure = f"chance alone does so in 1 of {1 / drift.chance:,.0f} histories"
    return (
        f"drift: {drift.cell.id}: {label} {format_change(drift.change)} {where}; {sure}; no verdict: look for what "
        f"changed then; if it is meant, take the new level with: {command}; if the machine has such days, add "
        "--perf-baseline-append"
    )
