"""Owns what the plugin shows on the terminal, as lines of text; it prints nothing and knows no colour code."""

from collections.abc import Mapping

from perfsuite.core.baseline import Baseline
from perfsuite.core.units import format_change, format_ms
from perfsuite.report.comparison import comparison
from perfsuite.report.headings import counted
from perfsuite.report.layout import Line
from perfsuite.report.rows import pooled
from perfsuite.report.tables import tables
from perfsuite.report.verdicts import verdict_line, verdicts

__all__ = ["Line", "comparison", "saved", "tables", "verdict_line", "verdicts"]

Levels = Mapping[str, float | None]
"""Nanoseconds by label, `None` below the sample floor; a series without values is absent."""


def saved(old: Baseline | None, new: Baseline) -> str:
    """'eager/tiny/p100-o32: saved 5 sessions: TTFT P50 41.2 ms -> 40.9 ms (-0.7 %), …'; a cell's samples are pooled."""
    before: Levels = _levels(old) if old else {}
    steps = [_step(label, before.get(label), level) for label, level in _levels(new).items()]
    sessions = counted(len(new.recordings), "session")
    return f"{new.cell.id}: saved {sessions}{'' if old else ', new'}: {', '.join(steps)}"


def _levels(baseline: Baseline) -> Levels:
    summaries = pooled(baseline.recordings)
    ttft, tpot, e2e = (summaries.get(name) for name in ("ttft", "tpot", "e2e"))
    return {
        **({"TTFT P50": ttft.p50.value, "TTFT P99": ttft.p99.value} if ttft else {}),
        **({"TPOT P50": tpot.p50.value} if tpot else {}),
        **({"E2E P50": e2e.p50.value} if e2e else {}),
    }


def _step(label: str, before: float | None, after: float | None) -> str:
    if after is None:
        return f"{label} too few samples"
    if before is None:
        return f"{label} {format_ms(after)} ms"
    return f"{label} {format_ms(before)} ms -> {format_ms(after)} ms ({format_change(after / before - 1)})"
