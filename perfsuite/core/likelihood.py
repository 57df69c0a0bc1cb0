"""Owns how likely counted draws are under a distribution that is known up to rounding.

A distribution here is a vector of weights and, for each, how far its logarithm may be off. All bounds hold for any
number of draws, not only for many.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
HALVINGS = 60
TOO_SMALL_TO_SEARCH = 1e-3
"""Nats within which the likelihood is bounded instead of maximised."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """A distribution over k outcomes: logarithms of probabilities that sum to 1, each up to `slack` off.

    The true logarithms are log_p + e - log(normaliser) with |e| <= slack.
    """

    log_p: Floats
    slack: Floats


def best_log_likelihood(counts: Floats, cells: Cells) -> float:
    """The largest log-likelihood of the counts [k] that any distribution within the slack gives them, or a hair more.

    -inf if something was drawn that has probability 0. Maximises sum n e - n log(sum p exp(e)), which is concave: e is
    log(share / p) + c, clipped, where c is the logarithm of the normaliser; c is found by halving.
    """
    drawn = counts > 0
    if np.isneginf(cells.log_p[drawn]).any():
        return -math.inf
    if not drawn.any():
        return 0.0
    most = 2 * float(cells.slack.max() * counts.sum())
    if most < TOO_SMALL_TO_SEARCH:
        return float((counts[drawn] * cells.log_p[drawn]).sum()) + most
    shift, log_normaliser = _closest(counts[drawn], cells, drawn)
    return float((counts[drawn] * (cells.log_p[drawn] + shift)).sum() - counts.sum() * log_normaliser)


def _closest(counts: Floats, cells: Cells, drawn: NDArray[np.bool_]) -> tuple[Floats, float]:
    """The shift of the drawn outcomes that makes their counts likeliest, and the logarithm of the normaliser.

    What was not drawn is shifted down as far as it may be, and a single outcome that was drawn up.
    """
    others = float(np.exp((cells.log_p - cells.slack)[~drawn]).sum())
    log_p, slack = cells.log_p[drawn], cells.slack[drawn]
    weights = np.exp(log_p)
    if len(counts) == 1:
        return slack, math.log(others + float((weights * np.exp(slack)).sum()))
    wanted = np.log(counts / counts.sum()) - log_p
    widest = float(cells.slack.max())
    low, high = -widest, widest
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        shift = np.minimum(np.maximum(wanted + middle, -slack), slack)
        if math.log(others + float((weights * np.exp(shift)).sum())) > middle:
            low = middle
        else:
            high = middle
    return shift, math.log(others + float((weights * np.exp(shift)).sum()))


def log_chance_of_misfit(counts: Floats, cells: Cells) -> float:
    """Logarithm of an upper bound on the chance that draws fit the distribution as badly as these, or worse.

    The statistic is x = n KL(shares || p), half of the G statistic. Its moment generating function is at most that of
    a gamma distribution with shape k - 1 (Agrawal 2020, arXiv 1904.02291), so that
    P(statistic >= x) <= exp(-x) (e x / (k - 1))^(k - 1) for x > k - 1, for every n. No cell need be large.
    """
    drawn = counts > 0
    freedom = int((cells.log_p > -np.inf).sum()) - 1
    shares = counts[drawn] / counts.sum()
    misfit = float((counts[drawn] * np.log(shares)).sum()) - best_log_likelihood(counts, cells)
    if misfit == math.inf:
        return -math.inf
    if freedom < 1 or misfit <= freedom:
        return 0.0
    return -misfit + freedom * (1 + math.log(misfit / freedom))


def pooled(counts: Floats, cells: Cells, limit: int) -> tuple[Floats, Cells]:
    """The same over at most about `limit` cells: likely outcomes by themselves, the others in order of probability.

    Which outcomes are pooled depends on the probabilities alone, so that pooling leaves the bound as it is.
    """
    order = np.argsort(-cells.log_p, kind="stable")
    order = order[cells.log_p[order] > -np.inf]
    starts = _starts(np.exp(cells.log_p[order]), 2 / limit)
    mass = np.add.reduceat(np.exp(cells.log_p[order]), starts)
    slack = np.maximum.reduceat(cells.slack[order], starts)
    return np.add.reduceat(counts[order], starts), Cells(log_p=np.log(mass), slack=slack)


def _starts(descending: Floats, least_mass: float) -> NDArray[np.intp]:
    """Where each cell begins: one outcome if it has `least_mass`, else as many as together have it."""
    before = np.cumsum(descending) - descending
    likely = descending >= least_mass
    numbers = np.where(likely, np.arange(len(descending)), len(descending) + np.floor(before / least_mass))
    return np.flatnonzero(np.diff(numbers, prepend=-1) > 0)
