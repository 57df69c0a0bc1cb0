"""Owns the words for what else changed since the baseline of cells that got slower; no verdict hangs on it."""

from collections.abc import Sequence

from perfsuite.core.baseline import UNKNOWN_COMMIT
from perfsuite.core.circumstances import Circumstances
from perfsuite.core.matrix import Cell
from perfsuite.report.headings import counted
from perfsuite.report.layout import Line

SHORT_COMMIT = 12


def circumstance_lines(found: Sequence[Circumstances]) -> tuple[Line, ...]:
    """A line for each baseline and set of changes."""
    return tuple(Line(circumstance_text(each), "yellow") for each in found)


def circumstance_text(found: Circumstances) -> str:
    """'eager/tiny/p10-o32: since the baseline of 2026-11-23 (commit …) also changed: transformers 5.16.0 -> 5.17.0'."""
    cells = _cells_text(found.cells)
    code = "" if found.commit == UNKNOWN_COMMIT else f" (commit {found.commit[:SHORT_COMMIT]})"
    baseline = f"since the baseline of {found.saved_at}{code}"
    if found.changes:
        return f"{cells}: {baseline} also changed: {', '.join(found.changes)}"
    return f"{cells}: {baseline} no version or setting that is noted has changed: look at the code since then"


def _cells_text(cells: Sequence[Cell]) -> str:
    others = len(cells) - 1
    return f"{cells[0].id} and {counted(others, 'more cell')}" if others else cells[0].id
