"""Owns how fine plots are drawn: as fine as the samples where cells are few, coarser where a page holds many."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

ALL_POINTS = 120_000
"""Points of a page, over all cells: some 6 bytes each, so that 500 cells stay far below 10 MB."""
FEW_POINTS = 1000
"""Points of a cell below which only the first series has a trace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """Points of a curve over all sessions, of one session's curve and of its trace; sessions that are drawn singly, and
    series that have a trace.
    """

    pooled: int
    session: int
    trace: int
    sessions: int
    traces: int


def detail_for(cells: int) -> Detail:
    """What a page of so many cells can afford."""
    points = ALL_POINTS // max(cells, 1)
    return Detail(
        pooled=_between(48, points // 12, 160),
        session=_between(12, points // 40, 60),
        trace=_between(40, points // 12, 400),
        sessions=_between(4, points // 100, 16),
        traces=2 if points > FEW_POINTS else 1,
    )


def _between(least: int, wanted: int, most: int) -> int:
    return max(least, min(wanted, most))


def quantile_points(values: Sequence[float], count: int) -> list[tuple[float, float]]:
    """The empirical distribution as (value, share), at `count` places that lie closer towards both ends."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    shares = (1 - np.cos(np.linspace(0.0, np.pi, min(count, max(2, ordered.size))))) / 2
    ranks = np.round(shares * (ordered.size - 1)).astype(int)
    return [(float(ordered[rank]), float((rank + 1) / ordered.size)) for rank in ranks]


def extremes(values: Sequence[float], count: int) -> list[tuple[int, float]]:
    """(index, value) of at most `count` values: the least and the largest of each stretch, so that no peak is lost."""
    if len(values) <= count:
        return list(enumerate(values))
    edges = np.linspace(0, len(values), count // 2 + 1).astype(int)
    kept: list[tuple[int, float]] = []
    for begin, end in pairwise(edges):
        stretch = values[begin:end]
        places = {begin + int(np.argmin(stretch)), begin + int(np.argmax(stretch))}
        kept += [(index, values[index]) for index in sorted(places)]
    return kept
