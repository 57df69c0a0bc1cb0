"""Owns the columns of a table that only a watched GPU has: cycles, clock, a cell's own memory, energy per token."""

from collections.abc import Sequence
from statistics import median

from perfsuite.core.cycles import mean_clock, median_cycles
from perfsuite.core.metrics import Metric, Statistic
from perfsuite.core.resources import RESOURCES
from perfsuite.report.columns import UNKNOWN
from perfsuite.report.layout import Column
from perfsuite.report.rows import Row

TTFT = Metric(series="ttft", statistic=Statistic.P50)


def machine_columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """Those that any row has a value for: millions of SM cycles to the first token, MHz, GiB at the peak, joules."""
    columns = (
        _column("TTFT P50", "Mcycles", [_scaled(median_cycles(TTFT, row.recordings), 1e-6) for row in rows], 2),
        _column("SM", "MHz", [mean_clock(row.recordings) for row in rows], 0),
        _column("peak", "GiB", [_scaled(_used(row, "memory"), 2**-30) for row in rows], 3),
        _column("energy", "J/token", [_used(row, "energy") for row in rows], 3),
    )
    return tuple(column for column in columns if set(column.cells) != {UNKNOWN})


def _column(group: str, title: str, found: Sequence[float | None], digits: int) -> Column:
    cells = tuple(UNKNOWN if value is None else f"{value:.{digits}f}" for value in found)
    return Column(group=group, title=title, cells=cells)


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _used(row: Row, name: str) -> float | None:
    """The median of the sessions that know it."""
    values = RESOURCES[name].values(row.recordings)
    return median(values) if values else None
