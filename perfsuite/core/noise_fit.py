"""Owns the fitting of the prior: how much the sessions of a usual cell differ, learnt from all cells of a suite."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from perfsuite.core.metrics import Statistic
from perfsuite.core.noise import Noise, Samples, iteration_variance, log_bias, samples_needed
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

LEAST_CELLS = 10
"""Cells a prior is fitted to at least; with fewer there is none."""
LARGEST_PRIOR_DF = 60.0


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
    e = np.array([math.log(cell.variance) + log_bias(cell.freedom) for cell in cells])
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
