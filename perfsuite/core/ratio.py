"""Owns how many times faster one strategy of a run is than another, and how sure that is.

A session counts as one number, as in every verdict: the ratio's interval is Welch's, on the logarithms of the sessions'
statistics (Welch 1947). Where the sessions of both took turns, block by block, what they share cancels: then it is
Student's, on the differences of sessions that were made together. Both sides are of one run and machine, so no
baseline is needed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from scipy import special

from perfsuite.core.errors import OptionError
from perfsuite.core.metrics import SERIES, Direction, Metric
from perfsuite.core.recording import Recording
from perfsuite.core.statistics import UnusableSamplesError, session_estimate
from perfsuite.core.verdict import Interval, Outcome

LEAST_SESSIONS = 2
"""Sessions of each side below which nothing is known of their spread."""
COMPARED_SESSIONS = 4
"""Sessions that a comparison asks for: with 4 each the interval reaches 2.4 standard errors, with 2 it reaches 4.3."""
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """`times` faster than the other (2.0: half the time); `interval` is `None` below LEAST_SESSIONS of a side.

    `is_paired` says that the sessions took turns; only those count then.
    """

    times: float
    interval: Interval | None
    sessions: int
    others: int
    is_paired: bool = False

    def outcome(self, at_least: float) -> Outcome:
        """PASSED if all of the interval is at or above what is asked for, REGRESSED if below, else INCONCLUSIVE."""
        if self.interval is None or self.interval.low < at_least <= self.interval.high:
            return Outcome.INCONCLUSIVE
        return Outcome.PASSED if self.interval.low >= at_least else Outcome.REGRESSED


def ratio_of(metric: Metric, own: Sequence[Recording], other: Sequence[Recording]) -> Ratio | None:
    """How many times faster `own` is than `other` by this metric; `None` if one of them has no values of it."""
    pairs = _pairs(own, other)
    if len(pairs) >= LEAST_SESSIONS:
        own, other = zip(*pairs, strict=True)
    ours, theirs = _estimates(metric, own), _estimates(metric, other)
    if not ours or not theirs:
        return None
    sign = 1 if metric.direction is Direction.LOWER_IS_BETTER else -1
    theta = sign * (fmean(theirs) - fmean(ours))
    is_paired = len(pairs) >= LEAST_SESSIONS and len(ours) == len(theirs) == len(pairs)
    error, freedom = _paired_spread(ours, theirs) if is_paired else _spread(ours, theirs)
    interval = None
    if freedom is not None:
        reach = error * -float(special.stdtrit(freedom, (1 - CONFIDENCE) / 2)) if error else 0.0
        interval = Interval(low=math.exp(theta - reach), high=math.exp(theta + reach), confidence=CONFIDENCE)
    return Ratio(times=math.exp(theta), interval=interval, sessions=len(ours), others=len(theirs), is_paired=is_paired)


def _pairs(own: Sequence[Recording], other: Sequence[Recording]) -> list[tuple[Recording, Recording]]:
    """The sessions of both that took turns with each other."""
    beside = {recording.session: recording for recording in other}
    return [
        (recording, found)
        for recording in own
        if (found := beside.get(recording.session)) is not None
        and found.cell.strategy in recording.beside
        and recording.cell.strategy in found.beside
    ]


def _paired_spread(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """The standard error of the mean difference of pairs, and its degrees of freedom."""
    differences = [there - here for here, there in zip(ours, theirs, strict=True)]
    return math.sqrt(variance(differences) / len(differences)), float(len(differences) - 1)


def _estimates(metric: Metric, recordings: Sequence[Recording]) -> list[float]:
    """The logarithm of every session's statistic, of those that have values."""
    series = SERIES[metric.series]
    values = [found for recording in recordings if (found := series.values(recording))]
    try:
        return [session_estimate(each, metric.statistic) for each in values]
    except UnusableSamplesError:
        return []


def _spread(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float | None]:
    """The standard error of the difference and its degrees of freedom (Satterthwaite 1946); `None`: not known."""
    if min(len(ours), len(theirs)) < LEAST_SESSIONS:
        return 0.0, None
    parts = [(variance(side) / len(side), len(side) - 1) for side in (ours, theirs)]
    total = sum(part for part, _ in parts)
    if not total:
        return 0.0, float(sum(freedom for _, freedom in parts))
    return math.sqrt(total), total**2 / sum(part**2 / freedom for part, freedom in parts)


def check_factor(at_least: object) -> float:
    """The factor that a test asks for; OptionError for what is none."""
    if isinstance(at_least, bool) or not isinstance(at_least, (int, float)) or not 0 < at_least < math.inf:
        raise OptionError(f"perf_compare: at_least={at_least!r} is not a factor; write 1.3 for 1.3 times as fast")
    return float(at_least)
