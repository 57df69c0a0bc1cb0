"""Owns which tokens top-k and top-p keep when scores are known up to rounding only: for certain, and perhaps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bounds:
    """The least and the largest that each score [V] may be."""

    low: Floats
    high: Floats

    def possibly_above(self, values: Floats) -> Floats:
        """For each token the sum of the values of those that may rank before it, itself not counted."""
        return _sum_at_least(self.high, values, self.low, side="left") - values

    def surely_above(self, values: Floats) -> Floats:
        """For each token the sum of the values of those that rank before it whatever is rounded."""
        return _sum_at_least(self.low, values, self.high, side="right")


def _sum_at_least(keys: Floats, values: Floats, limits: Floats, *, side: str) -> Floats:
    """For each limit the sum of values whose key is at least the limit (side left) or above it (side right)."""
    order = np.argsort(keys)
    tail_sums = np.concatenate([np.cumsum(values[order][::-1])[::-1], [0.0]])
    result: Floats = tail_sums[np.searchsorted(keys[order], limits, side="left" if side == "left" else "right")]
    return result


def within_top_k(bounds: Bounds, top_k: int) -> tuple[Mask, Mask]:
    """What top-k keeps for certain, and what it may keep; 0 keeps all that has a finite score."""
    finite = np.isfinite(bounds.high)
    if not top_k:
        return finite, finite.copy()
    ones = finite.astype(float)
    return finite & (bounds.possibly_above(ones) < top_k), finite & (bounds.surely_above(ones) < top_k)


def within_top_p(bounds: Bounds, required: Mask, allowed: Mask, *, top_p: float, margin: float) -> tuple[Mask, Mask]:
    """Of that, a token stays if those before it hold less than `top_p` of the mass, up to `margin`."""
    if top_p == 1:
        return required, allowed
    highest = bounds.high[allowed].max()
    most = np.where(allowed, np.exp(bounds.high - highest), 0.0)
    least = np.where(required, np.exp(bounds.low - highest), 0.0)
    above_most = bounds.possibly_above(most)
    rest_least = np.maximum(least.sum() - bounds.possibly_above(least), 0.0)
    above_least = bounds.surely_above(least)
    rest_most = np.maximum(most.sum() - bounds.surely_above(most), 0.0)
    stays = above_most < (top_p - margin) * (above_most + rest_least)
    may_stay = above_least < (top_p + margin) * (above_least + rest_most)
    is_best = bounds.low > np.partition(np.append(bounds.high, -np.inf), -2)[-2]
    return required & (stays | is_best), allowed & (may_stay | (bounds.high >= bounds.low.max()))
