"""Owns the known slowdowns that a self-test puts into stored samples: what of a session gets slower, by how much."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from perfsuite.core.statistics import FloatArray

Factors = Callable[[FloatArray, np.random.Generator], FloatArray]

SLOW_PATH_SHARE, SLOW_PATH_FACTOR = 0.02, 2.0
TAIL_SHARE, TAIL_FACTOR = 0.1, 1.1
"""The slowest tenth: P95 lies strictly inside, so that P95 and P99 move by the factor exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """A slowdown by name; `factors` says of every duration of a session, in any unit, how many times as long it takes.

    `fraction` is the slowdown where all samples have the same one (0: none), `None` where they differ.
    """

    name: str
    factors: Factors
    fraction: float | None = None

    @property
    def is_none(self) -> bool:
        return self.fraction == 0


def _alike(fraction: float) -> Factors:
    return lambda durations, _draw: np.full(durations.shape, 1 + fraction)


def _slow_path(durations: FloatArray, draw: np.random.Generator) -> FloatArray:
    """A drawn 2 % of the samples, at least one, take twice as long."""
    factors = np.ones(durations.shape)
    count = max(1, round(SLOW_PATH_SHARE * durations.size))
    factors[draw.choice(durations.size, size=count, replace=False)] = SLOW_PATH_FACTOR
    return factors


def _stretched_tail(durations: FloatArray, _draw: np.random.Generator) -> FloatArray:
    """The slowest tenth takes 10 % longer."""
    return np.where(durations > np.quantile(durations, 1 - TAIL_SHARE), TAIL_FACTOR, 1.0)


def uniform(fraction: float) -> Injection:
    """Every sample slower by the fraction: 0.05 is '+5 %'."""
    return Injection(name=f"+{100 * fraction:g} %", factors=_alike(fraction), fraction=fraction)


NONE = Injection(name="nothing", factors=_alike(0.0), fraction=0.0)
SLOW_PATH = Injection(name="slow path, 2 %", factors=_slow_path)
STRETCHED_TAIL = Injection(name="tail +10 %", factors=_stretched_tail)
INJECTIONS = (NONE, uniform(0.03), uniform(0.05), uniform(0.10), SLOW_PATH, STRETCHED_TAIL)
