"""Owns the trend of one metric of one cell over runs: a level a run, and what a change of level is.

Where the level changes is found by history/changes.py, with a library. Changes are hints, no verdicts.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

LEAST_RUNS = 8
"""With fewer runs nobody can tell their noise, and no change of level is looked for."""
NEEDED_GAIN = 10.0
"""What a change must save, in standard deviations of a run: docs/benchmarks/trend.md says how often noise saves it."""


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
    the two parts; that saves `gain` standard deviations of a run. `differing` is what else changed there.
    """

    at: int
    change: float
    gain: float
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


def differing(before: Point, after: Point) -> tuple[str, ...]:
    """'torch 2.11.0 -> 2.13.0', of what must agree with a baseline."""
    keys = sorted(set(before.environment) | set(after.environment))
    pairs = ((key, before.environment.get(key, "-"), after.environment.get(key, "-")) for key in keys)
    return tuple(f"{key} {old} -> {new}" for key, old, new in pairs if old != new)
