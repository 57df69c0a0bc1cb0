"""Owns made-up histories of a suite: 60 cells of 6 metrics, eight sessions of one day and then one a day, 29 in all."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from perfsuite.core.history import History
from perfsuite.core.metrics import parse_metric
from tests.builders import make_cell

Array = NDArray[np.float64]
METRICS = tuple(
    parse_metric(text, where="test")
    for text in ("ttft.p50", "ttft.p99", "ttft_device.p50", "tpot.p50", "tpot_device.p50", "e2e.p50")
)
CELLS = tuple(make_cell(prompt=10 * number) for number in range(1, 61))
DAY_OF_SESSION = (*[0] * 8, *range(1, 22))
SHAPE = (len(CELLS), len(METRICS), len(DAY_OF_SESSION))
SD = 0.008
"""Spread between sessions, of the logarithm."""


def starts(days: Sequence[int]) -> tuple[str, ...]:
    """When a session of each of these days started."""
    return tuple(f"{date(2026, 1, 1) + timedelta(days=day)}T08:00:00Z" for day in days)


def suite(levels: Array) -> list[History]:
    """A history per cell and metric of `levels`, shaped cells x metrics x sessions, with a tolerance of 5 %."""
    started_at = starts(DAY_OF_SESSION)
    return [
        History(cell=cell, metric=metric, tolerance=0.05, estimates=tuple(own.tolist()), started_at=started_at)
        for cell, rows in zip(CELLS, levels, strict=True)
        for metric, own in zip(METRICS, rows, strict=True)
    ]


def sessions(draw: np.random.Generator) -> Array:
    """Sessions that differ by chance."""
    return draw.normal(0, SD, SHAPE)


def two_states(draw: np.random.Generator) -> Array:
    """Most sessions close together, a third of them 1.3 to 3.4 % slower."""
    slow = draw.random(SHAPE) < 0.35
    return np.asarray(draw.normal(0, 0.003, SHAPE) + slow * draw.uniform(0.013, 0.034, SHAPE))


def together(draw: np.random.Generator) -> Array:
    """All cells move together, correlated by 0.94."""
    return np.asarray(draw.normal(0, SD / 4, SHAPE) + draw.normal(0, SD, SHAPE[2]))


def days_of_each(draw: np.random.Generator) -> Array:
    """Days differ as much as the sessions of a day, for each cell and metric by itself."""
    return sessions(draw) + _of_days(draw.normal(0, SD, (*SHAPE[:2], 1 + max(DAY_OF_SESSION))))


def days_of_all(draw: np.random.Generator) -> Array:
    """The same for all cells at once."""
    return sessions(draw) + _of_days(draw.normal(0, SD, 1 + max(DAY_OF_SESSION)))


def moods(draw: np.random.Generator, memory: float = 0.5) -> Array:
    """Days that resemble the day before, correlated by `memory`: more than the watch is built for."""
    levels = draw.normal(0, SD, (*SHAPE[:2], 1 + max(DAY_OF_SESSION)))
    for day in range(1, levels.shape[-1]):
        levels[..., day] = memory * levels[..., day - 1] + np.sqrt(1 - memory**2) * levels[..., day]
    return sessions(draw) + _of_days(levels)


def _of_days(levels: Array) -> Array:
    return levels[..., list(DAY_OF_SESSION)]


def slower(draw: np.random.Generator, *, size: float, days: int, cells: int) -> Array:
    """Sessions of which those of the last `days` days are slower by `size` in so many cells."""
    shift = size * (np.arange(SHAPE[0]) < cells)
    return sessions(draw) + shift[:, np.newaxis, np.newaxis] * (np.arange(SHAPE[2]) >= SHAPE[2] - days)


STEADY: Mapping[str, Callable[[np.random.Generator], Array]] = {
    "sessions that differ by chance": sessions,
    "sessions of two machine states": two_states,
    "cells that move together": together,
    "days that differ, for each cell by itself": days_of_each,
    "days that differ, for all cells at once": days_of_all,
}
"""Histories in which nothing drifts."""
