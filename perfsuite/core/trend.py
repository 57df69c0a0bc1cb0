"""Owns the trend of one metric of one cell over runs: a level a run, and where the level became another one.

Whether a level changed is asked of the division that the watch on drift uses (division.py), and of its two parts again,
as in E-divisive (Matteson & James 2014): one chance for both, and no second detector that contradicts the first. Where
it changed is where the least lies around the medians of the two parts, since ranks alone can be one run off. Change
points are hints, no verdicts.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from perfsuite.core.division import LEAST_PART, divide

ACCEPTED_CHANCE = 0.005
"""Share of random orders of a part's runs that may divide it as sharply."""
DRAWS = 4000
"""Random orders that this share is counted in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What one session of a run says of the metric, as the history holds it."""

    run: str
    started_at: str
    commit: str
    value: float
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One run: `level` is the geometric mean of its `sessions`."""

    run: str
    started_at: str
    commit: str
    level: float
    sessions: int
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From point `at` (counted from 0) on the level is another one, by the fraction `change` between the medians of
    the two parts; of random orders a share `chance` divides as sharply. `differing` is what else changed there.
    """

    at: int
    change: float
    chance: float
    differing: tuple[str, ...]


def points(sightings: Iterable[Sighting]) -> tuple[Point, ...]:
    """The runs in the order of time."""
    runs: dict[str, list[Sighting]] = {}
    for sighting in sightings:
        runs.setdefault(sighting.run, []).append(sighting)
    found = [
        Point(
            run=run,
            started_at=min(each.started_at for each in own),
            commit=own[0].commit,
            level=math.exp(fmean(math.log(each.value) for each in own)),
            sessions=len(own),
            environment=own[0].environment,
        )
        for run, own in runs.items()
    ]
    return tuple(sorted(found, key=lambda point: (point.started_at, point.run)))


def steps(found: Sequence[Point]) -> tuple[Step, ...]:
    """Every change of level, in the order of time; none in fewer than six runs."""
    levels = [math.log(point.level) for point in found]
    divisions = sorted(_divisions(levels, 0, len(levels)))
    bounds = [0, *(at for at, _ in divisions), len(levels)]
    return tuple(
        Step(
            at=at,
            change=math.expm1(median(levels[at : bounds[index + 2]]) - median(levels[bounds[index] : at])),
            chance=chance,
            differing=_differing(found[at - 1], found[at]),
        )
        for index, (at, chance) in enumerate(divisions)
    )


def _divisions(levels: Sequence[float], start: int, stop: int) -> list[tuple[int, float]]:
    """Where the part divides, with the chance of that, and so on in its two parts."""
    if stop - start < 2 * LEAST_PART:
        return []
    (division,) = divide(np.array([levels[start:stop]]), draws=DRAWS)
    if division.chance > ACCEPTED_CHANCE:
        return []
    at = start + _place(levels[start:stop])
    return [*_divisions(levels, start, at), (at, division.chance), *_divisions(levels, at, stop)]


def _place(levels: Sequence[float]) -> int:
    """Where the distances to the medians of the two parts sum to the least."""
    places = range(LEAST_PART, len(levels) - LEAST_PART + 1)
    return min(places, key=lambda at: _around_median(levels[:at]) + _around_median(levels[at:]))


def _around_median(levels: Sequence[float]) -> float:
    center = median(levels)
    return sum(abs(level - center) for level in levels)


def _differing(before: Point, after: Point) -> tuple[str, ...]:
    """'torch 2.11.0 -> 2.13.0', of what must agree with a baseline."""
    keys = sorted(set(before.environment) | set(after.environment))
    pairs = ((key, before.environment.get(key, "-"), after.environment.get(key, "-")) for key in keys)
    return tuple(f"{key} {old} -> {new}" for key, old, new in pairs if old != new)
