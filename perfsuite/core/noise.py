"""Owns the spread between sessions: the prior of a whole suite, and one cell's variance moderated by it.

A few sessions of one cell say little about its spread; sixty cells together say what is usual (Smyth 2004, limma's
`squeezeVar` with a trend). Everything here is on the scale of logarithms, so the unit of the samples does not matter.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import special

from perfsuite.core.metrics import Statistic
from perfsuite.core.statistics import (
    FloatArray,
)

Samples: TypeAlias = Sequence[float] | FloatArray

TAIL_EXPECTED = 3
"""Samples that must be expected beyond a tail quantile: 60 samples for P95, 300 for P99."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How much the sessions of a usual cell differ in one statistic.

    The variance expected of a cell is `exp(intercept + digamma(d0/2) - log(d0/2) + slope * log covariate)` with
    d0 = `prior_df`; 0 means no prior. Below `least_covariate`, the smallest the trend was fitted on, that one holds: a
    coarse clock must not promise a quiet cell. Beyond `largest_covariate`, as where sessions were cut short, it grows
    with the covariate at least in proportion. `level_sd` is the median over cells of the sd of the sessions' log
    medians. `ignored` says which cells took no part and why. `pool_df` is how many degrees of freedom the cells have
    together, what their sessions have in common counted once: no more than one cell's own if all move as one.
    """

    statistic: Statistic
    cells: int
    intercept: float = 0.0
    slope: float = 0.0
    prior_df: float = 0.0
    least_covariate: float = 0.0
    largest_covariate: float = math.inf
    pool_df: float = math.inf
    level_sd: float | None = None
    ignored: tuple[str, ...] = ()

    def prior_variance(self, covariate: float) -> float:
        """The variance of a session estimate expected at this covariate (docs/gate.md 3, step 3); 0 without a prior."""
        if not self.prior_df:
            return 0.0
        covariate = max(covariate, self.least_covariate)
        known = min(covariate, self.largest_covariate)
        trend = self.intercept + self.slope * math.log(known) + max(1.0, self.slope) * math.log(covariate / known)
        return math.exp(trend - log_bias(self.prior_df))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A cell's moderated variance between sessions, and the degrees of freedom behind it (prior included).

    `measured` of them are the candidate's; the others rest on no more than `pool_df` if all cells err together.
    """

    variance: float
    freedom: float
    measured: int = 0
    pool_df: float = math.inf

    @property
    def sd(self) -> float:
        return math.sqrt(self.variance)

    @property
    def common_freedom(self) -> float:
        """The degrees of freedom if what all cells have in common is counted once (Satterthwaite 1946)."""
        stored = self.freedom - self.measured
        return self.freedom**2 / (stored**2 / min(stored, self.pool_df) + self.measured)


def moderated(noise: Noise | None, *, squares: float, freedom: int, covariate: float, measured: int = 0) -> Spread:
    """The cell's own sum of squares joined with the prior: (d0 s0^2 + SS) / (d0 + d) (docs/gate.md 3, step 4).

    `measured` of the `freedom` are the candidate's.
    """
    if noise is None:
        return Spread(variance=squares / freedom, freedom=freedom, measured=measured)
    total = noise.prior_df + freedom
    return Spread(
        variance=(noise.prior_df * noise.prior_variance(covariate) + squares) / total,
        freedom=total,
        measured=measured,
        pool_df=max(noise.pool_df, freedom - measured),
    )


def squares_of(estimates: FloatArray) -> float:
    """The sum of squared deviations from the mean."""
    return float(np.sum((estimates - estimates.mean()) ** 2))


def iteration_variance(sessions: FloatArray, statistic: Statistic) -> float:
    """The variance that a session estimate would have from its samples alone (docs/gate.md 3, v_c).

    `sessions` has a row per session. For a quantile: half the distance of the quantiles at p -+ sqrt(p(1-p)/n) of the
    pooled logarithms, squared; for the mean: their variance over n. Each session's logarithms are centred first.
    """
    logs = np.log(sessions)
    n, p = logs.shape[1], statistic.probability
    if p is None:
        return float((logs - logs.mean(axis=1, keepdims=True)).var() / n)
    centred = logs - np.median(logs, axis=1, keepdims=True)
    reach = math.sqrt(p * (1 - p) / n)
    low, high = np.quantile(centred, [max(0.0, p - reach), min(1.0, p + reach)])
    return float(((high - low) / 2) ** 2)


def samples_needed(statistic: Statistic) -> int:
    """How many samples a session needs for this statistic to be gated: n(1 - p) >= 3 for a tail, else 1."""
    p = statistic.probability
    return math.ceil(TAIL_EXPECTED / (1 - p)) if p is not None and statistic.is_tail else 1


def log_bias(freedom: float) -> float:
    """How far the logarithm of a sample variance lies below the true variance's on average."""
    return float(math.log(freedom / 2) - special.digamma(freedom / 2))
