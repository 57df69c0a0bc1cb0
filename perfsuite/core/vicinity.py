"""Owns what busy neighbours do to a session, from blocks that were taken beside them and by itself in turn."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from scipy import special

from perfsuite.core.metrics import SERIES, Metric, Statistic
from perfsuite.core.recording import Recording
from perfsuite.core.units import format_change, format_percent
from perfsuite.core.verdict import Interval

SHARE_OF_TOLERANCE = 0.25
"""What neighbours may change: a quarter of what a verdict tolerates, so that they cannot make one."""
CONFIDENCE = 0.95
LEAST_PAIRS = 4
"""With fewer pairs of blocks an interval is wider than anything that is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """By how much busy neighbours change the median of a series: 0.01 is 1 % slower; `allowed` is what is harmless.

    Student's interval, on the differences of the logarithms within the pairs of blocks.
    """

    series: str
    change: float
    interval: Interval
    allowed: float

    @property
    def is_harmless(self) -> bool:
        """Whether all of the interval is within what is allowed, slower or faster."""
        return -self.allowed < self.interval.low and self.interval.high < self.allowed

    @property
    def words(self) -> str:
        """'TTFT +0.1 % (-0.3 % to +0.5 %, 1.25 % are allowed)'."""
        low, high = format_change(self.interval.low), format_change(self.interval.high)
        allowed = format_percent(round(self.allowed, 6))
        return f"{SERIES[self.series].label} {format_change(self.change)} ({low} to {high}, {allowed} are allowed)"


def effects(recording: Recording, beside: Sequence[bool], tolerances: Mapping[Metric, float]) -> tuple[Effect, ...]:
    """The effect on every series whose median has a tolerance; a series without pairs of blocks has none.

    `beside` says of each block whether the neighbours were busy; blocks 0 and 1 are a pair, 2 and 3 the next.
    """
    wanted = {m.series: tolerance for m, tolerance in tolerances.items() if m.statistic is Statistic.P50}
    found: list[Effect] = []
    for series, tolerance in wanted.items():
        blocks = {block: median(values) for block, values in SERIES[series].by_block(recording).items()}
        differences = _differences(blocks, beside)
        if len(differences) >= LEAST_PAIRS and series != "e2e":
            found.append(_effect(series, differences, SHARE_OF_TOLERANCE * tolerance))
    return tuple(found)


def _differences(blocks: Mapping[int, float], beside: Sequence[bool]) -> list[float]:
    """The logarithm of busy over quiet, pair by pair."""
    pairs = [(first, first + 1) for first in range(0, len(beside) - 1, 2)]
    ordered = [(one, other) if beside[one] else (other, one) for one, other in pairs]
    return [math.log(blocks[busy] / blocks[quiet]) for busy, quiet in ordered if busy in blocks and quiet in blocks]


def _effect(series: str, differences: Sequence[float], allowed: float) -> Effect:
    middle, error = fmean(differences), stdev(differences) / math.sqrt(len(differences))
    reach = error * -float(special.stdtrit(len(differences) - 1, (1 - CONFIDENCE) / 2))
    interval = Interval(low=math.expm1(middle - reach), high=math.expm1(middle + reach), confidence=CONFIDENCE)
    return Effect(series=series, change=math.expm1(middle), interval=interval, allowed=allowed)
