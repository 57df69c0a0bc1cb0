"""Owns the place where a sequence divides best into two levels, and how often chance divides one as sharply.

It is the first division of E-divisive (Matteson & James 2014) with three choices of its own: the second part always
reaches to the end, because only a level that still holds is of interest; distances are those of ranks, so that one
outlying value counts no more than being the last; and the permutations of all sequences of a length are the same ones,
drawn once from a fixed seed, so that the same numbers always give the same answer.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from perfsuite.core.statistics import FloatArray

LEAST_PART = 3
"""Values that make a level."""
AT_ONCE = 4096
"""Permutations that are computed together."""
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """The sequence divides before index `at`; of random orders of its values a share `chance` divides as sharply."""

    at: int
    chance: float


def divide(rows: FloatArray, *, draws: int) -> tuple[Division, ...]:
    """The best division of each row, whose values are in the order of time; `draws` random orders say how good it is.

    The chance is (1 + orders at least as sharp) / (1 + draws), as in Matteson & James; it is never 0.
    """
    found = divergences(_ranks(rows))
    sharpest, chances = found.argmax(axis=1), _chances(found.max(axis=1), rows.shape[1], draws)
    return tuple(
        Division(at=LEAST_PART + int(place), chance=float(chance))
        for place, chance in zip(sharpest, chances, strict=True)
    )


def divergences(rows: FloatArray) -> FloatArray:
    """Q of every row divided after 3, 4, ... values: the scaled energy distance of its two parts.

    Q = mk/(m+k) * (2 mean|x-y| - mean|x-x'| - mean|y-y'|), means over pairs of different values, with m values x
    before and k values y after (Matteson & James 2014, equations 5 and 6, alpha 1).
    """
    before, after = _distances(rows)
    count = rows.shape[1]
    m = np.arange(LEAST_PART, count - LEAST_PART + 1)
    k = count - m
    total = before.sum(axis=1, keepdims=True)
    first = before.cumsum(axis=1)[:, m - 1]
    second = total - after.cumsum(axis=1)[:, m - 1]
    across = total - first - second
    energy: FloatArray = (2 * across - 2 * k * first / (m - 1) - 2 * m * second / (k - 1)) / count
    return energy


def _distances(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """For every value the sum of its distances to the values before it, and to those after it."""
    before, after = np.empty(rows.shape), np.empty(rows.shape)
    for place in range(rows.shape[1]):
        own = rows[:, place, np.newaxis]
        before[:, place] = np.abs(rows[:, :place] - own).sum(axis=1)
        after[:, place] = np.abs(rows[:, place + 1 :] - own).sum(axis=1)
    return before, after


def _ranks(rows: FloatArray) -> FloatArray:
    """From 0 by size in each row; equal values share the mean of their ranks."""
    here, there = rows[:, :, np.newaxis], rows[:, np.newaxis, :]
    ranks: FloatArray = (there < here).sum(axis=2) + ((there == here).sum(axis=2) - 1) / 2
    return ranks


def _chances(sharpness: FloatArray, count: int, draws: int) -> FloatArray:
    by_chance = _by_chance(count, draws)
    as_sharp = draws - np.searchsorted(by_chance, sharpness - ROUNDING)
    return np.asarray((1 + as_sharp) / (1 + draws), dtype=np.float64)


@lru_cache(maxsize=64)
def _by_chance(count: int, draws: int) -> FloatArray:
    """The sharpest division of each of `draws` random orders of `count` different values, ascending."""
    draw = np.random.default_rng(count)
    sizes = [min(AT_ONCE, draws - start) for start in range(0, draws, AT_ONCE)]
    orders = (draw.permuted(np.tile(np.arange(count, dtype=np.float64), (size, 1)), axis=1) for size in sizes)
    return np.sort(np.concatenate([divergences(order).max(axis=1) for order in orders]))
