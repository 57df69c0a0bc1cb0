"""Owns where the level of a trend changes: found by ruptures, with a penalty that noise alone seldom reaches."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from perfsuite.core.errors import OptionError
from perfsuite.core.statistics import FloatArray
from perfsuite.core.trend import LEAST_RUNS, NEEDED_GAIN, Point, Step, differing

LEAST_PART = 3
"""Runs that make a level."""
NORMAL_DIFFERENCE = 0.6744897501960817 * math.sqrt(2)
"""The median distance of two normal values, in standard deviations."""


def steps(found: Sequence[Point]) -> tuple[Step, ...]:
    """Every change of level, in the order of time; none in fewer than eight runs.

    PELT (Killick, Fearnhead & Eckley 2012) over the distances to the median of each part, so that one run far off is no
    level of its own; OptionError if ruptures is not installed.
    """
    if len(found) < LEAST_RUNS:
        return ()
    levels = np.array([math.log(point.level) for point in found])
    noise = noise_of(levels)
    if not noise:
        return ()
    search = _search(levels / noise)
    bounds = [0, *search.predict(pen=NEEDED_GAIN)]
    error = search.cost.error
    return tuple(
        Step(
            at=at,
            change=math.expm1(median(levels[at:after]) - median(levels[before:at])),
            gain=float(error(before, after) - error(before, at) - error(at, after)),
            differing=differing(found[at - 1], found[at]),
        )
        for before, at, after in zip(bounds, bounds[1:], bounds[2:], strict=False)
    )


def noise_of(levels: FloatArray) -> float:
    """The standard deviation of a run around its level, from the distances of neighbours, which few changes move.

    0 if all are alike; where more than half of the neighbours are alike, by the mean distance.
    """
    distances = np.abs(np.diff(levels))
    return float(np.median(distances) / NORMAL_DIFFERENCE or distances.mean() * math.sqrt(math.pi) / 2)


def _search(signal: FloatArray) -> Any:
    """The search of ruptures, fitted to a signal."""
    try:
        import ruptures
    except ImportError as error:
        raise OptionError("changes of level: need ruptures; pip install 'perfsuite[history]'") from error
    return ruptures.Pelt(model="l1", min_size=LEAST_PART, jump=1).fit(signal[:, np.newaxis])
