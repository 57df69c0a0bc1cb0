"""Owns the words for two versions that were measured in turns: ratios with intervals, arm bias, pairs and sessions."""

from collections.abc import Sequence
from dataclasses import dataclass

from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import parse_metric
from perfsuite.core.twin import Bias
from perfsuite.core.units import format_ms
from perfsuite.core.verdict import Verdict
from perfsuite.report.layout import Column, Line, table

UNKNOWN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one cell, judged in turns; `is_apart` says that whole sessions took turns, not blocks."""

    cell: Cell
    verdict: Verdict
    bias: Bias | None
    pairs: int
    is_apart: bool = False


def twin_table(rows: Sequence[Row], old: str, new: str) -> tuple[Line, ...]:
    """Every ratio with its interval, and what it rests on; empty without rows that have one."""
    shown = [row for row in rows if row.verdict.change is not None]
    if not shown:
        return ()
    columns = (
        _left("cell", [row.cell.id for row in shown]),
        _left("metric", [parse_metric(row.verdict.metric, where="verdict").label for row in shown]),
        _right("old ms", [_ms(row.verdict.baseline) for row in shown]),
        _right("new ms", [_ms(row.verdict.candidate) for row in shown]),
        _right("new / old", [ratio_text(row.verdict) for row in shown]),
        _right("arm bias", [bias_text(row.bias) for row in shown]),
        _right("pairs", [str(row.pairs) for row in shown]),
        _right("sessions", [_sessions(row) for row in shown]),
        _left("turns", ["whole sessions" if row.is_apart else "blocks" for row in shown]),
    )
    title = f"old: {old}, new: {new}, in turns; 95 % intervals, arm bias taken out, sessions + A/A sessions of old"
    return (Line(title, "bold"), *table(columns), Line(""))


def ratio_text(verdict: Verdict) -> str:
    """'1.052 (1.047..1.058)'; without the interval where there is none."""
    if verdict.change is None:
        return UNKNOWN
    interval = verdict.interval
    return f"{1 + verdict.change:.3f}" + (f" ({1 + interval.low:.3f}..{1 + interval.high:.3f})" if interval else "")


def bias_text(bias: Bias | None) -> str:
    """'+0.1 % (-0.2..+0.4)'."""
    if bias is None:
        return UNKNOWN
    interval = bias.interval
    known = f" ({100 * interval.low:+.1f}..{100 * interval.high:+.1f})" if interval else ""
    return f"{100 * bias.change:+.1f} %{known}"


def _ms(value: float | None) -> str:
    return UNKNOWN if value is None else format_ms(value)


def _sessions(row: Row) -> str:
    return f"{row.verdict.candidate_sessions} + {row.verdict.baseline_sessions}"


def _left(title: str, cells: Sequence[str]) -> Column:
    return Column(group="", title=title, cells=tuple(cells), left=True)


def _right(title: str, cells: Sequence[str]) -> Column:
    return Column(group="", title=title, cells=tuple(cells))
