"""Owns what is said after a baseline was saved: how its sessions spread, and the smallest change it can gate."""

from collections.abc import Sequence
from itertools import groupby
from statistics import median

from perfsuite.core.calibration import MOST_SESSIONS, Calibrated
from perfsuite.core.units import format_percent
from perfsuite.report.headings import counted
from perfsuite.report.layout import Column, Line, table

LEGEND = (
    "sd is the standard deviation between sessions; 'process' is what of it more blocks in a session would not average "
    "out",
    "can gate is the smallest tolerance that this baseline holds: a slowdown of it is found in 99 of 100 runs that "
    "allow no more; needs is how many baseline sessions hold the tolerance; raw has void blocks in it, used has not",
)

REPETITION = (
    "samples a session is worth (n* of Kalibera & Jones 2013): beyond them another session tells more for its time"
)
ENDLESS = "no limit"
EXPLAINED = (
    f"; {ENDLESS}: sessions differ by no more than their samples explain, take more samples and no more sessions"
)


def calibration(found: Sequence[Calibrated], *, looks: int, gates: int) -> tuple[Line, ...]:
    """A table per strategy and model with a row per cell and metric, then what it means in a sentence."""
    if not found:
        return ()
    arms = groupby(found, key=lambda each: (each.cell.strategy, each.cell.model))
    lines = [line for _, own in arms for line in _table(list(own))]
    error = f"at most 1 false alarm in 1,000 runs over {counted(gates, 'gate')}, at most {counted(looks, 'session')}"
    return (*lines, *(Line(text) for text in LEGEND), Line(f"{error} a cell"), *_sentences(found))


def _table(rows: Sequence[Calibrated]) -> tuple[Line, ...]:
    cell = rows[0].cell
    columns = (
        Column(group="", title="cell", left=True, cells=tuple(row.cell.workload.slug for row in rows)),
        Column(group="", title="metric", left=True, cells=tuple(row.metric.label for row in rows)),
        Column(group="", title="samples", left=True, cells=tuple(row.mode.label for row in rows)),
        Column(group="sd, %", title="raw", cells=tuple(_percent(row.raw_sd) for row in rows)),
        Column(group="sd, %", title="used", cells=tuple(_percent(row.session_sd) for row in rows)),
        Column(group="sd, %", title="process", cells=tuple(_percent(row.process_sd) for row in rows)),
        Column(group="change, %", title="can gate", cells=tuple(_percent(row.smallest, digits=1) for row in rows)),
        Column(group="change, %", title="tolerance", cells=tuple(_percent(row.tolerance, digits=1) for row in rows)),
        Column(group="sessions", title="has", cells=tuple(str(row.sessions) for row in rows)),
        Column(group="sessions", title="needs", cells=tuple(_needs(row) for row in rows)),
        Column(group="", title="", left=True, cells=tuple(_remark(row) for row in rows)),
    )
    title = f"calibration of {cell.strategy_slug} on {cell.model.name}: {counted(rows[0].sessions, 'session')}"
    return (Line(title, "bold"), *table(columns), *_repetitions(rows), Line(""))


def _repetitions(rows: Sequence[Calibrated]) -> tuple[Line, ...]:
    """A line per cell with the samples that a session is worth, of every metric whose spread could be taken apart."""
    cells = groupby((row for row in rows if row.repetition), key=lambda row: row.cell)
    lines = [Line(f"  {cell.workload.slug}: {', '.join(map(_repetition, own))}") for cell, own in cells]
    is_endless = any(row.repetition is not None and row.repetition.best is None for row in rows)
    return (Line(f"{REPETITION}{EXPLAINED if is_endless else ''}"), *lines) if lines else ()


def _repetition(row: Calibrated) -> str:
    found = row.repetition
    if found is None:
        return ""
    best = ENDLESS if found.best is None else f"{found.best:,}"
    return f"{row.metric.label} {best} (has {found.samples:,})"


def _percent(fraction: float | None, digits: int = 2) -> str:
    return "-" if fraction is None else f"{100 * fraction:.{digits}f}"


def _needs(row: Calibrated) -> str:
    if row.smallest is None:
        return "-"
    return str(row.sessions_needed) if row.sessions_needed else f">{MOST_SESSIONS}"


def _remark(row: Calibrated) -> str:
    if row.smallest is None:
        return f"cannot gate: {row.reason}"
    if row.can_gate:
        return ""
    return f"cannot gate {format_percent(row.tolerance)}, can gate {100 * row.smallest:.1f} %"


def _sentences(found: Sequence[Calibrated]) -> tuple[Line, ...]:
    able = [row for row in found if row.can_gate]
    needed = sorted(row.sessions_needed for row in found if row.sessions_needed is not None)
    told = f"perfsuite: {len(able)} of {counted(len(found), 'gate')} can hold their tolerance"
    lines = [Line(told, "green" if len(able) == len(found) else "yellow")]
    if needed:
        usual, most = median(needed), needed[-1]
        never = sum(row.smallest is not None and row.sessions_needed is None for row in found)
        rest = f"; for {counted(never, 'gate')} not even {MOST_SESSIONS} would do" if never else ""
        lines.append(
            Line(f"fresh processes that a baseline needs here: {usual:g} for a usual gate, {most} at most{rest}")
        )
    return tuple(lines)
