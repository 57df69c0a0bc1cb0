"""Owns what busy neighbours do to a session, from blocks that were taken beside them and by itself in turn."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from statistics import median, variance

from perfsuite.core.baseline import Baseline
from perfsuite.core.judgement import usable, view
from perfsuite.core.metrics import SERIES, Metric, Statistic
from perfsuite.core.recording import Recording
from perfsuite.core.statistics import UnusableSamplesError, session_estimate
from perfsuite.core.units import format_change, format_percent
from perfsuite.core.verdict import Interval

SHARE_OF_TOLERANCE, SHARE_OF_SPREAD = 0.25, 0.5
"""What neighbours may change: a quarter of what a verdict tolerates, or half of what the sessions of its baseline
differ by (their standard deviation) if that is more. A verdict needs twice the one and several times the other."""
LEAST_SESSIONS, LEAST_FREEDOM = 5, 7
"""Sessions of a cell, and degrees of freedom of all cells together, that tell how much sessions differ: 7 are those of
a usual baseline of one cell, and find it 1.5 times too large at most (97.5 %); 1.7 times if cells err as one."""
CONFIDENCE, NORMAL = 0.95, 1.96
LEAST_PAIRS = 6
"""The whole range of fewer pairs does not hold the middle with 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """By how much busy neighbours change the median of a series: 0.01 is 1 % slower; `allowed` is what is harmless.

    Hodges and Lehmann's estimate and its interval (1963; Hollander & Wolfe 1973, 3.2, 3.3), on the differences of the
    logarithms within the pairs of blocks: a host that changes its speed in the middle of a pair spoils that pair alone.
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


def allowances(tolerances: Mapping[Metric, float], baselines: Iterable[Baseline] = ()) -> dict[str, float]:
    """By series what neighbours may change of its median, as a fraction, where that is gated.

    `baselines` are those of the strategy's cells, as far as there are any. E2E is made of the others and has none.
    """
    stored = tuple(baselines)
    return {
        metric.series: max(SHARE_OF_TOLERANCE * tolerance, SHARE_OF_SPREAD * spread_of(metric, stored))
        for metric, tolerance in tolerances.items()
        if metric.statistic is Statistic.P50 and metric.series != "e2e"
    }


def spread_of(metric: Metric, baselines: Iterable[Baseline]) -> float:
    """The standard deviation between sessions as verdicts see them; 0 where too little is stored to know it.

    Pooled over the cells by their degrees of freedom.
    """
    cells = [levels for each in baselines if len(levels := _levels(metric, each)) >= LEAST_SESSIONS]
    freedom = sum(len(levels) - 1 for levels in cells)
    if freedom < LEAST_FREEDOM:
        return 0.0
    return math.sqrt(sum((len(levels) - 1) * variance(levels) for levels in cells) / freedom)


def _levels(metric: Metric, baseline: Baseline) -> list[float]:
    """The logarithmic level of each session, none where samples cannot be used."""
    try:
        sessions = usable(view(metric, baseline.recordings, baseline))
        return [session_estimate(values, metric.statistic) for values in sessions if len(values)]
    except UnusableSamplesError:
        return []


def effects(recording: Recording, beside: Sequence[bool], allowed: Mapping[str, float]) -> tuple[Effect, ...]:
    """The effect on every series of `allowed`, which says what is; a series without pairs of blocks has none.

    `beside` says of each block whether the neighbours were busy; blocks 0 and 1 are a pair, 2 and 3 the next.
    """
    found: list[Effect] = []
    for series, harmless in allowed.items():
        blocks = {block: median(values) for block, values in SERIES[series].by_block(recording).items()}
        differences = _differences(blocks, beside)
        if len(differences) >= LEAST_PAIRS:
            found.append(_effect(series, differences, harmless))
    return tuple(found)


def _differences(blocks: Mapping[int, float], beside: Sequence[bool]) -> list[float]:
    """The logarithm of busy over quiet, pair by pair."""
    pairs = [(first, first + 1) for first in range(0, len(beside) - 1, 2)]
    ordered = [(one, other) if beside[one] else (other, one) for one, other in pairs]
    return [math.log(blocks[busy] / blocks[quiet]) for busy, quiet in ordered if busy in blocks and quiet in blocks]


def _effect(series: str, differences: Sequence[float], allowed: float) -> Effect:
    """The middle of the averages of all two differences; the interval leaves out as many as Wilcoxon's test may."""
    count = len(differences)
    averages = sorted((one + other) / 2 for one, other in combinations_with_replacement(differences, 2))
    sd = math.sqrt(count * (count + 1) * (2 * count + 1) / 24)
    left_out = max(0, math.floor(count * (count + 1) / 4 - NORMAL * sd) - 1)
    low, high = averages[left_out], averages[-1 - left_out]
    interval = Interval(low=math.expm1(low), high=math.expm1(high), confidence=CONFIDENCE)
    return Effect(series=series, change=math.expm1(median(averages)), interval=interval, allowed=allowed)
