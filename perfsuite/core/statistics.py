"""Owns what is computed from one list of values: quantiles, their intervals, and the estimate of a session."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

from perfsuite.core.errors import OptionError, PerfsuiteError
from perfsuite.core.metrics import Statistic
from perfsuite.core.summary import Quantile, Summary
from perfsuite.core.verdict import Interval

FloatArray: TypeAlias = NDArray[np.float64]

SMALLEST, LARGEST = 1e-100, 1e100
"""Values outside cannot be times in any unit; inside, no sum or logarithm overflows."""
LEAST_SHARE = 0.5
"""Share of the longest session's samples that the shortest must exceed for the two to be compared."""
JUMP, DROP = 1e3, 1e-5
"""A sample this many times its session's median, or that small a part of it, was not timed by a working clock.

Tokens that arrive together leave gaps of microseconds between milliseconds; those are real.
"""


class UnusableSamplesError(PerfsuiteError):
    """A session no statistic may be taken of; the text says which value is wrong."""


def statistic_named(name: str) -> Statistic:
    """The statistic called 'median' (or 'p50'), 'mean', 'p95' or 'p99'; OptionError for anything else."""
    names = {"median": Statistic.P50, **{statistic.value: statistic for statistic in Statistic}}
    if not isinstance(name, str) or name not in names:
        raise OptionError(f"metric: {name!r} is not a statistic; choose from {', '.join(sorted(names))}")
    return names[name]


def is_list(sessions: object) -> bool:
    """Whether it is a sequence that sessions can be taken of."""
    if isinstance(sessions, np.ndarray):
        return sessions.ndim > 0
    return isinstance(sessions, Sequence) and not isinstance(sessions, str)


def readable(values: Iterable[float]) -> FloatArray:
    """The samples of one session as an array, in the order taken and in their own unit.

    UnusableSamplesError if one of them cannot be a time (not a number, not finite, zero or below), if there is none,
    if several are all the same (the clock did not tick), or if one is out of all proportion (it jumped).
    """
    array = _numbers(values)
    wrong = ~((array >= SMALLEST) & (array <= LARGEST))
    if wrong.any():
        index = int(wrong.argmax())
        raise UnusableSamplesError(f"sample {index + 1} of {array.size} is {array[index]:g}, not a time above zero")
    if array.size > 1 and array.min() == array.max():
        raise UnusableSamplesError(f"all {array.size} samples are {array[0]:g}: the clock does not tick")
    jump = jump_in(array)
    if jump is not None:
        raise UnusableSamplesError(jump)
    return array


def jump_in(array: FloatArray) -> str | None:
    """Where a sample is out of all proportion to its session's median, in words; `None` if none is."""
    if array.max() <= JUMP * array.min():
        return None
    proportions = array / np.median(array)
    jumps = (proportions > JUMP) | (proportions < DROP)
    if not jumps.any():
        return None
    index = int(jumps.argmax())
    times, value = float(proportions[index]), f"sample {index + 1} of {array.size} is {_plain(array[index])}"
    if times > 1:
        return f"{value}, {_plain(times)} times the median: the clock jumped or the machine stood still"
    return f"{value}, less than a hundred thousandth of the median: the clock jumped"


def _plain(value: float) -> str:
    """3,600,000 rather than 3.6e+06, where that can be read."""
    return f"{value:,.0f}" if 1000 <= value < 1e15 else f"{value:g}"


def _numbers(values: Iterable[float]) -> FloatArray:
    try:
        array: NDArray[Any] = np.asarray(values if isinstance(values, (Sequence, np.ndarray)) else list(values))
    except (TypeError, ValueError) as error:
        raise UnusableSamplesError(f"not a list of numbers ({error})") from error
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise UnusableSamplesError("not a list of numbers")
    if not array.size:
        raise UnusableSamplesError("no samples")
    return array.astype(np.float64)


def cut_short(sessions: Sequence[FloatArray]) -> int | None:
    """The index of the shortest session if it has half the samples of the longest or fewer, else `None`."""
    sizes = [session.size for session in sessions]
    return sizes.index(min(sizes)) if min(sizes) <= LEAST_SHARE * max(sizes) else None


def first_common(sessions: Sequence[FloatArray], count: int | None = None) -> FloatArray:
    """A row per session with its first `count` samples; by default as many as the shortest session has."""
    count = min(session.size for session in sessions) if count is None else count
    return np.stack([session[:count] for session in sessions])


def quantile(values: Iterable[float], p: float) -> float:
    """The p-quantile by linear interpolation between order statistics (numpy's default), in the values' unit."""
    return float(np.quantile(_floats(values), p))


def _floats(values: Iterable[float]) -> FloatArray:
    return np.asarray(values if isinstance(values, np.ndarray) else tuple(values), dtype=np.float64)


def harrell_davis(values: FloatArray, p: float) -> FloatArray:
    """The Harrell-Davis estimate of the p-quantile along the last axis (Harrell & Davis 1982)."""
    estimates: FloatArray = np.sort(values, axis=-1) @ _harrell_davis_weights(values.shape[-1], p)
    return estimates


@lru_cache(maxsize=128)
def _harrell_davis_weights(n: int, p: float) -> FloatArray:
    """w_i = I_{i/n}(a, b) - I_{(i-1)/n}(a, b) with a = (n+1)p and b = (n+1)(1-p); they sum to one."""
    steps = special.betainc((n + 1) * p, (n + 1) * (1 - p), np.arange(n + 1) / n)
    weights: FloatArray = np.diff(steps)
    weights.setflags(write=False)
    return weights


def session_estimates(sessions: FloatArray, statistic: Statistic) -> FloatArray:
    """The logarithm of the statistic of every row: what a session counts for in a verdict (docs/gate.md 2).

    P95 and P99 are Harrell-Davis on the logarithms; nothing is removed from the mean.
    """
    p = statistic.probability
    if p is None:
        return np.asarray(np.log(sessions.mean(axis=-1)), dtype=np.float64)
    if statistic.is_tail:
        return harrell_davis(np.log(sessions), p)
    return np.asarray(np.log(np.median(sessions, axis=-1)), dtype=np.float64)


def session_estimate(values: Iterable[float], statistic: Statistic) -> float:
    """The logarithm of one session's statistic; UnusableSamplesError as in `readable`."""
    return float(session_estimates(readable(values)[np.newaxis, :], statistic)[0])


def samples_floor(p: float, confidence: float = 0.95) -> int:
    """The smallest n whose maximum is an upper bound of the p-quantile: 1 - p^n >= confidence.

    59 for P95 and 299 for P99 at 95 %; below, no sample bounds the quantile from above.
    """
    if not (0 < p < 1 and 0 < confidence < 1):
        raise ValueError(f"a floor needs p and confidence between 0 and 1, not {p!r} and {confidence!r}")
    return max(1, math.ceil(math.log1p(-confidence) / math.log(p)))


def order_interval(
    values: Iterable[float], p: float, confidence: float = 0.95, *, together: int = 1
) -> Interval | None:
    """The distribution-free interval of the p-quantile between two order statistics; `None` if n is too small for one.

    Each end is missed with at most (1 - confidence) / 2, by the binomial distribution (David & Nagaraja 2003, 7.1).
    Of values that come `together` so many count as one: they may all say the same.
    """
    ordered = np.sort(_floats(values))
    ranks = _interval_ranks(ordered.size // together, p, confidence)
    if ranks is None:
        return None
    low, high = ranks[0] * together, min((ranks[1] + 1) * together, ordered.size) - 1
    return Interval(low=float(ordered[low]), high=float(ordered[high]), confidence=confidence)


@lru_cache(maxsize=256)
def _interval_ranks(n: int, p: float, confidence: float) -> tuple[int, int] | None:
    """Zero-based places of the two ends among n ordered values; B ~ Bin(n, p) values lie below the quantile."""
    missed = (1 - confidence) / 2
    low = bisect_right(range(n), missed, key=lambda j: float(special.bdtr(j, n, p))) - 1
    high = bisect_left(range(n), -missed, key=lambda j: -float(special.bdtrc(j, n, p)))
    return (low, high) if low >= 0 and high < n else None


def summarize(values: Iterable[float], *, together: int = 1) -> Summary:
    """Count, moments and quantiles of the values, in their unit; ValueError for none.

    P95 and P99 below `samples_floor` have no value but say how many samples are missing; the median always has one.
    Of values that come `together`, as those of requests sent at once, so many count as one sample there and in
    intervals.
    """
    array = _floats(values)
    if not array.size:
        raise ValueError("a summary needs at least one value")
    return Summary(
        count=array.size,
        mean=float(array.mean()),
        std=float(array.std(ddof=1)) if array.size > 1 else None,
        minimum=float(array.min()),
        maximum=float(array.max()),
        p50=_quantile_of(array, 0.5, floor=1, together=together),
        p95=_quantile_of(array, 0.95, floor=samples_floor(0.95), together=together),
        p99=_quantile_of(array, 0.99, floor=samples_floor(0.99), together=together),
    )


def _quantile_of(array: FloatArray, p: float, *, floor: int, together: int) -> Quantile:
    missing = max(0, floor - max(1, array.size // together))
    if missing:
        return Quantile(probability=p, value=None, interval=None, missing=missing)
    interval = order_interval(array, p, together=together)
    return Quantile(probability=p, value=float(np.quantile(array, p)), interval=interval)
