"""Owns the spread between sessions: a prior fitted to a whole suite, and one cell's variance moderated by it.

A few sessions of one cell say little about its spread; sixty cells together say what is usual (Smyth 2004, limma's
`squeezeVar` with a trend). Everything here is on the scale of logarithms, so the unit of the samples does not matter.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import special

from perfsuite.core.metrics import Statistic
from perfsuite.core.statistics import (
    FloatArray,
    UnusableSamplesError,
    cut_short,
    first_common,
    is_list,
    readable,
    session_estimates,
    statistic_named,
)

Samples: TypeAlias = Sequence[float] | FloatArray

LEAST_CELLS = 10
"""Cells a prior is fitted to at least; with fewer there is none."""
LARGEST_PRIOR_DF = 60.0
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
        return math.exp(trend - _log_bias(self.prior_df))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _CellNoise:
    variance: float
    covariate: float
    freedom: int
    level_sd: float
    deviations: FloatArray
    """The session estimates around their mean, scaled to a sum of squares of one; 0 for a session that is left out."""


def fit_noise(cells: Iterable[Sequence[Samples | None]], metric: str) -> Noise:
    """The prior of one metric ('median', 'mean', 'p95' or 'p99'), fitted to the baseline sessions of all cells.

    The sessions of every cell come in the order they were measured, so that what all cells have in common shows; `None`
    stands for a session of the suite that this cell leaves out.

    A cell is left out, and `ignored` says why, if it has fewer than two sessions, a session that `readable` refuses or
    that was cut short, too few samples for a tail, or no spread at all. With fewer than 10 cells left there is no
    prior. OptionError for an unknown metric.
    """
    statistic = statistic_named(metric)
    found = [_cell_noise_or_reason(sessions, statistic) for sessions in cells]
    measured = [cell for cell in found if isinstance(cell, _CellNoise)]
    ignored = tuple(f"cell {number}: {cell}" for number, cell in enumerate(found, start=1) if isinstance(cell, str))
    if len(measured) < LEAST_CELLS:
        return Noise(statistic=statistic, cells=len(measured), level_sd=_level_sd(measured), ignored=ignored)
    return _fit(measured, statistic, ignored)


def _cell_noise_or_reason(sessions: Sequence[Samples | None], statistic: Statistic) -> _CellNoise | str:
    try:
        return _cell_noise(sessions, statistic)
    except UnusableSamplesError as error:
        return str(error)


def _cell_noise(sessions: Sequence[Samples | None], statistic: Statistic) -> _CellNoise:
    if not is_list(sessions):
        raise UnusableSamplesError("not a list of sessions")
    there = [index for index, session in enumerate(sessions) if session is not None]
    if len(there) < 2:
        raise UnusableSamplesError(f"the number of sessions is {len(there)}, 2 are needed")
    read = [readable(session) for session in sessions if session is not None]
    short = cut_short(read)
    if short is not None:
        longest = max(session.size for session in read)
        raise UnusableSamplesError(f"session {short + 1} has {read[short].size} samples, the longest {longest}")
    rows = first_common(read)
    if rows.shape[1] < samples_needed(statistic):
        raise UnusableSamplesError(f"{rows.shape[1]} samples a session, {samples_needed(statistic)} are needed")
    estimates = session_estimates(rows, statistic)
    variance = float(estimates.var(ddof=1))
    covariate = iteration_variance(rows, statistic)
    if not (variance > 0 and covariate > 0):
        raise UnusableSamplesError("its sessions or samples do not differ at all")
    levels = session_estimates(rows, Statistic.P50)
    return _CellNoise(
        variance=variance,
        covariate=covariate,
        freedom=len(there) - 1,
        level_sd=float(levels.std(ddof=1)),
        deviations=_placed(
            (estimates - estimates.mean()) / math.sqrt(variance * (len(there) - 1)), there, len(sessions)
        ),
    )


def _placed(values: FloatArray, places: Sequence[int], length: int) -> FloatArray:
    """The values at their places among zeros."""
    row = np.zeros(length)
    row[list(places)] = values
    return row


def _level_sd(cells: Sequence[_CellNoise]) -> float | None:
    return float(np.median([cell.level_sd for cell in cells])) if cells else None


def _fit(cells: Sequence[_CellNoise], statistic: Statistic, ignored: tuple[str, ...]) -> Noise:
    """Steps 1 and 2 of docs/gate.md 3: the trend of the unbiased log variances, and what is left around it."""
    x = np.log([cell.covariate for cell in cells])
    e = np.array([math.log(cell.variance) + _log_bias(cell.freedom) for cell in cells])
    centred = x - x.mean()
    scatter = float(centred @ centred)
    slope = float(centred @ e) / scatter if scatter > 1e-12 else 0.0
    residuals = e - e.mean() - slope * centred
    sampling = float(np.mean([special.polygamma(1, cell.freedom / 2) for cell in cells]))
    shared = _shared(cells)
    return Noise(
        statistic=statistic,
        cells=len(cells),
        intercept=float(e.mean() - slope * x.mean()),
        slope=slope,
        prior_df=_prior_df(float(residuals @ residuals) / (len(cells) - 2) - (1 - shared) * sampling),
        pool_df=float(np.mean([cell.freedom for cell in cells])) / (shared + (1 - shared) / len(cells)),
        least_covariate=min(cell.covariate for cell in cells),
        largest_covariate=max(cell.covariate for cell in cells),
        level_sd=_level_sd(cells),
        ignored=ignored,
    )


def _shared(cells: Sequence[_CellNoise]) -> float:
    """The mean squared correlation of the cells' sessions, taken in order, less what chance alone gives; 0 to 1.

    It is also the correlation of the variances found. Only cells of as many sessions, left out or not, are compared.
    Two sessions always correlate fully, there only their signs tell.
    """
    total, pairs = 0.0, 0
    for sessions in {cell.deviations.size for cell in cells}:
        alike = np.stack([cell.deviations for cell in cells if cell.deviations.size == sessions])
        freedom = min(cell.freedom for cell in cells if cell.deviations.size == sessions)
        correlations = (alike @ alike.T)[np.triu_indices(len(alike), 1)]
        found = correlations**2 - (1 - correlations**2) / (freedom - 1) if freedom > 1 else correlations
        total, pairs = total + float(found.sum()), pairs + found.size
    return min(1.0, max(0.0, total / pairs)) if pairs else 0.0


def _log_bias(freedom: float) -> float:
    """How far the logarithm of a sample variance lies below the true variance's on average."""
    return float(math.log(freedom / 2) - special.digamma(freedom / 2))


def _prior_df(excess: float) -> float:
    """The d0 with trigamma(d0/2) = `excess` variance, at most 60; 60 too if the cells differ no more than by chance.

    Halving an interval: trigamma falls strictly, and 100 halvings are exact to the last digit.
    """
    if excess <= special.polygamma(1, LARGEST_PRIOR_DF / 2):
        return LARGEST_PRIOR_DF
    low, high = 0.0, LARGEST_PRIOR_DF
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if special.polygamma(1, middle / 2) > excess else (low, middle)
    return (low + high) / 2
