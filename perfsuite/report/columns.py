"""Owns how a column of numbers is written: one unit and one count of decimals from top to bottom."""

from collections.abc import Callable, Sequence

from perfsuite.core.statistics import samples_floor
from perfsuite.core.summary import Quantile, Summary
from perfsuite.core.units import to_ms, to_s
from perfsuite.report.layout import Column
from perfsuite.report.rows import Row

UNKNOWN = "-"


def series_column(
    rows: Sequence[Row | None], series: str, group: str, title: str, take: Callable[[Summary], str]
) -> Column:
    """What `take` makes of each row's summary of a series; '-' where there is no row or no such series."""
    found = [row.summaries.get(series) if row else None for row in rows]
    return Column(group=group, title=title, cells=tuple(take(s) if s else UNKNOWN for s in found))


def median_column(rows: Sequence[Row | None], series: str, group: str, title: str) -> Column:
    """P50 of a series in milliseconds."""
    decimals = shared_decimals(rows, series)
    return series_column(rows, series, group, title, lambda s: quantile_text(s.p50, decimals))


def shared_decimals(rows: Sequence[Row | None], series: str) -> int:
    """Decimals that give the smallest mean of the column four significant digits, between one and three."""
    means = [row.summaries[series].mean for row in rows if row and series in row.summaries]
    smallest = to_ms(min(means, default=0.0))
    return 3 if smallest < 10 else 2 if smallest < 100 else 1


def milliseconds(nanoseconds: float | None, decimals: int) -> str:
    return UNKNOWN if nanoseconds is None else f"{to_ms(nanoseconds):.{decimals}f}"


def quantile_text(quantile: Quantile, decimals: int) -> str:
    """The quantile in milliseconds, 'n<299' below its sample floor of 299."""
    if quantile.value is None:
        return f"n<{samples_floor(quantile.probability)}"
    return milliseconds(quantile.value, decimals)


def half_width(quantile: Quantile, decimals: int) -> str:
    """Half of the quantile's interval in milliseconds."""
    interval = quantile.interval
    return UNKNOWN if interval is None else milliseconds((interval.high - interval.low) / 2, decimals)


def startup_column(times_ns: Sequence[float | None]) -> Column:
    """Seconds, two decimals unless every one is ten or more."""
    decimals = 2 if min((to_s(time) for time in times_ns if time is not None), default=0) < 10 else 1
    cells = tuple(UNKNOWN if time is None else f"{to_s(time):.{decimals}f}" for time in times_ns)
    return Column(group="startup", title="s", cells=cells)


def memory_column(sizes: Sequence[int | None]) -> Column:
    """MiB, or GiB once the largest reaches one."""
    in_gib = max((size for size in sizes if size is not None), default=0) >= 2**30
    unit, decimals, title = (2**30, 2, "GiB") if in_gib else (2**20, 0, "MiB")
    cells = tuple(UNKNOWN if size is None else f"{size / unit:.{decimals}f}" for size in sizes)
    return Column(group="memory", title=title, cells=cells)
