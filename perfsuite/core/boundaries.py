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
    order, asked = np.argsort(keys), np.argsort(limits)  # places are looked up in order, which a large array rewards
    tail_sums = np.concatenate([np.cumsum(values[order][::-1])[::-1], [0.0]])
    result: Floats = np.empty_like(limits)
    result[asked] = tail_sums[np.searchsorted(keys[order], limits[asked], side="left" if side == "left" else "right")]
    return result


def within_top_k(bounds: Bounds, top_k: int) -> tuple[Mask, Mask]:
    """What top-k keeps for certain, and what it may keep; 0 keeps all that has a finite score.

    A token is kept for certain if fewer than k others may rank before it, so if it surely lies above the (k+1)-th
    largest that scores may be. It may be kept if fewer than k surely do.
    """
    finite = np.isfinite(bounds.high)
    if not top_k or top_k >= finite.size:
        return finite, finite.copy()
    beyond, least = np.partition(bounds.high, -top_k - 1)[-top_k - 1], np.partition(bounds.low, -top_k)[-top_k]
    return finite & (bounds.low > beyond), finite & (bounds.high >= least)


def within_top_p(bounds: Bounds, required: Mask, allowed: Mask, *, top_p: float, margin: float) -> tuple[Mask, Mask]:
    """Of that, a token stays if those before it hold less than `top_p` of the mass, up to `margin`."""
    if top_p == 1:
        return required, allowed
    among = np.flatnonzero(allowed)  # whatever may be the best or the second best is there, or one alone is allowed
    kept, may_be_kept = _among_top_p(
        Bounds(low=bounds.low[among], high=bounds.high[among]), required[among], top_p=top_p, margin=margin
    )
    every_kept, every_may_be_kept = np.zeros_like(required), np.zeros_like(allowed)
    every_kept[among], every_may_be_kept[among] = kept, may_be_kept
    return every_kept, every_may_be_kept


def _among_top_p(bounds: Bounds, required: Mask, *, top_p: float, margin: float) -> tuple[Mask, Mask]:
    """The same where all tokens are allowed."""
    highest = bounds.high.max()
    most = np.exp(bounds.high - highest)
    least = np.where(required, np.exp(bounds.low - highest), 0.0)
    above_most = bounds.possibly_above(most)
    rest_least = np.maximum(least.sum() - bounds.possibly_above(least), 0.0)
    above_least = bounds.surely_above(least)
    rest_most = np.maximum(most.sum() - bounds.surely_above(most), 0.0)
    stays = above_most < (top_p - margin) * (above_most + rest_least)
    may_stay = above_least < (top_p + margin) * (above_least + rest_most)
    is_best = bounds.low > np.partition(np.append(bounds.high, -np.inf), -2)[-2]
    return required & (stays | is_best), may_stay | (bounds.high >= bounds.low.max())
