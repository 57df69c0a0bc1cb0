"""Owns what is worth saying of a session's samples though no verdict rests on it: outliers, drift (docs/gate.md 8)."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import SERIES, Series
from perfsuite.core.recording import Recording

OUTLYING_MADS = 10.0
"""A sample so many median absolute deviations from the median is called an outlier; it stays where it is."""
DRIFT_ERRORS = 3.0
LEAST_BLOCKS = 8
"""Blocks a session needs before its halves are compared."""
WATCHED = ("ttft", "tpot")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One series of one session: outliers among its samples, and by what fraction its second half is slower.

    `drift` is `None` unless the halves differ by more than three standard errors of their blocks' medians.
    """

    cell: Cell
    session: int
    series: str
    samples: int
    outliers: int
    drift: float | None


def observe(recordings: Iterable[Recording]) -> tuple[Observation, ...]:
    """TTFT and TPOT of every session that has samples of them."""
    return tuple(
        _observe(SERIES[name], recording, blocks)
        for recording in recordings
        for name in WATCHED
        if (blocks := list(SERIES[name].by_block(recording).values()))
    )


def _observe(series: Series, recording: Recording, blocks: Sequence[tuple[float, ...]]) -> Observation:
    values = np.concatenate([np.asarray(block) for block in blocks])
    return Observation(
        cell=recording.cell,
        session=recording.session,
        series=series.name,
        samples=values.size,
        outliers=_outliers(values.tolist()),
        drift=_drift([median(block) for block in blocks]),
    )


def _outliers(values: Sequence[float]) -> int:
    """How many lie further from the median than ten times the median distance from it."""
    center = median(values)
    distances = [abs(value - center) for value in values]
    reach = OUTLYING_MADS * median(distances)
    return sum(distance > reach for distance in distances) if reach else 0


def _drift(levels: Sequence[float]) -> float | None:
    """The change from the first half of the blocks to the second where it is more than their scatter explains."""
    if len(levels) < LEAST_BLOCKS:
        return None
    logs = np.log(levels)
    first, second = logs[: len(logs) // 2], logs[len(logs) // 2 :]
    error = math.sqrt(first.var(ddof=1) / first.size + second.var(ddof=1) / second.size)
    change = float(second.mean() - first.mean())
    return math.expm1(change) if abs(change) > DRIFT_ERRORS * error else None
