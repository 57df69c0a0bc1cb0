"""Owns the tails of distributions that decide: Student's, and the hypergeometric one of Fisher's exact test."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from perfsuite.core.statistics import FloatArray


def student(error: float, freedom: float) -> float:
    """The t that Student's distribution exceeds with chance `error`."""
    return -float(special.stdtrit(freedom, error))


def hypergeometric_tail(least: int, *, population: int, marked: int, drawn: int) -> float:
    """The chance of at least `least` marked ones among `drawn` of a population without replacement."""
    hits = np.arange(max(least, marked + drawn - population), min(marked, drawn) + 1)
    if least <= max(0, marked + drawn - population):
        return 1.0
    logs: FloatArray = (
        _log_choose(marked, hits) + _log_choose(population - marked, drawn - hits) - _log_choose(population, drawn)
    )
    return float(min(1.0, np.exp(logs).sum()))


def _log_choose(n: int, k: NDArray[Any] | int) -> FloatArray:
    logs: FloatArray = special.gammaln(n + 1) - special.gammaln(np.add(k, 1)) - special.gammaln(np.subtract(n + 1, k))
    return logs
