"""Owns what the gate sees of a recording: void blocks left out, the machine's speed divided out.

Which canary counts for a series, how far it may move, and how a sample is divided by it: docs/gate.md 7.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsuite.core.canary import RAW, Canary, Mode
from perfsuite.core.metrics import SERIES, Metric, Series
from perfsuite.core.recording import Recording
from perfsuite.core.statistics import LEAST_SHARE, FloatArray, jump_in
from perfsuite.core.units import format_change

REACH_SDS, LEAST_REACH = 4.0, 0.03
"""A canary may leave its median by so many of its own standard deviations, and by so much in any case."""
VOID_SHARE = 0.5
"""A session is void once this share of its blocks is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Where a canary was while the baseline was recorded: the median of its times, and how far it may go from it.

    `reach` is a distance of logarithms.
    """

    center_ns: float
    reach: float

    def change(self, duration_ns: float) -> float:
        """How much slower than the median, as a fraction."""
        return duration_ns / self.center_ns - 1

    def holds(self, duration_ns: float) -> bool:
        return abs(math.log(duration_ns / self.center_ns)) <= self.reach


Ranges = Mapping[Canary, Range]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One session's values of a series as the gate uses them; `void` says why there are none, `None` if it holds.

    `places` names the block of each value.
    """

    values: Sequence[float] | FloatArray
    blocks: int
    places: tuple[int, ...] = ()
    void_blocks: int = 0
    void: str | None = None


def canary_ranges(recordings: Iterable[Recording]) -> dict[Canary, Range]:
    """The range of every canary over all blocks of a baseline's sessions."""
    durations: dict[Canary, list[int]] = {}
    for recording in recordings:
        for reading in recording.canaries:
            durations.setdefault(reading.canary, []).append(reading.duration_ns)
    return {canary: _range(times) for canary, times in durations.items()}


def _range(times: Sequence[int]) -> Range:
    spread = float(np.log(times).std(ddof=1)) if len(times) > 1 else 0.0
    return Range(center_ns=float(median(times)), reach=max(REACH_SDS * spread, math.log1p(LEAST_REACH)))


def guards(series: Series, mode: Mode, ranges: Ranges) -> Ranges:
    """The ranges that must hold for a series: the device's canary for what the device timed, the others for what the
    host did, and in any case the one that samples are divided by.
    """
    of_host = (Canary.HOST, Canary.FORWARD, Canary.GRAPH)
    wanted = {*((Canary.DEVICE,) if series.is_device else of_host), mode.canary}
    return {canary: place for canary, place in ranges.items() if canary in wanted}


def readings(recording: Recording, canary: Canary) -> dict[int, int]:
    """Nanoseconds by block."""
    return {reading.block: reading.duration_ns for reading in recording.canaries if reading.canary is canary}


def seen(metric: Metric, recording: Recording, mode: Mode = RAW, ranges: Ranges | None = None) -> Seen:
    """The session's values for `metric`, as `mode` says and without the blocks that left `ranges`.

    Requests that were sent together count once (`Series.of_call`).
    """
    series = SERIES[metric.series]
    blocks = series.by_block(recording, metric.statistic)
    factors = block_factors(recording, mode, blocks)
    outside = _outside(recording, guards(series, mode, ranges or {}))
    kept = {block: values for block, values in blocks.items() if block in factors and block not in outside}
    void = len(blocks) - len(kept)
    if void and void >= VOID_SHARE * len(blocks):
        text = _void_text(list(outside.values()), mode, void, len(blocks))
        return Seen(values=(), blocks=len(blocks), void_blocks=void, void=text)
    values = tuple(value * factors[block] for block, own in kept.items() for value in own)
    jump = jump_in(np.asarray(values)) if values and min(values) > 0 else None  # what is no time at all, the gate says
    if jump is not None:
        return Seen(values=(), blocks=len(blocks), void_blocks=len(blocks), void=jump)
    places = tuple(block for block, own in kept.items() for _ in own)
    return Seen(values=values, places=places, blocks=len(blocks), void_blocks=void)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Two sides whose sessions stand for the same parts of a session: a list of values for each that is not void.

    `is_fair` is false if the candidate's sessions have less than half of their blocks in common.
    """

    stored: list[FloatArray]
    measured: list[FloatArray]
    is_fair: bool = True


def matched(stored: Sequence[Seen], measured: Sequence[Seen]) -> Matched:
    """Only blocks that every candidate session kept, and as many values of each session, spread evenly over it.

    A machine that drifts within a session would else make sessions that lost their early blocks look slower.
    """
    kept = [set(session.places) for session in measured if session.void is None and session.void_blocks]
    common = np.array(sorted(set.intersection(*kept))) if kept else None
    blocks = max((session.blocks for session in measured), default=0)
    sides = [[_at(session, common) for session in side if session.void is None] for side in (stored, measured)]
    sizes = [values.size for side in sides for values in side]
    if sizes and min(sizes) > LEAST_SHARE * max(sizes):  # what is cut shorter is refused by the gate, with its reason
        sides = [[thinned(values, min(sizes)) for values in side] for side in sides]
    return Matched(stored=sides[0], measured=sides[1], is_fair=common is None or 2 * common.size >= blocks)


def _at(session: Seen, blocks: NDArray[Any] | None) -> FloatArray:
    values = np.asarray(session.values, dtype=np.float64)
    return values if blocks is None else values[np.isin(session.places, blocks)]


def thinned(values: FloatArray, count: int) -> FloatArray:
    """So many of the values, evenly spread, in order."""
    return values[np.arange(count) * values.size // count]


def block_factors(recording: Recording, mode: Mode, blocks: Iterable[int]) -> dict[int, float]:
    """What a sample of each block is multiplied by, 1 for raw samples; a block without its canary is absent."""
    if mode.canary is None:
        return dict.fromkeys(blocks, 1.0)
    return {
        block: (mode.reference_ns / duration_ns) ** mode.weight
        for block, duration_ns in readings(recording, mode.canary).items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Left:
    """A canary that left its range: which, how slow it was in times of its median, and what was allowed."""

    canary: Canary
    times: float
    reach: float


def _outside(recording: Recording, ranges: Ranges) -> dict[int, _Left]:
    """The blocks beside which a canary left its range."""
    return {
        reading.block: _Left(canary=reading.canary, times=1 + place.change(reading.duration_ns), reach=place.reach)
        for reading in recording.canaries
        if (place := ranges.get(reading.canary)) is not None and not place.holds(reading.duration_ns)
    }


def _void_text(left: Sequence[_Left], mode: Mode, void: int, blocks: int) -> str:
    beside = f"beside {void} of {blocks} blocks"
    if not left:
        return f"there is no reading of the {mode.canary.value if mode.canary else 'needed'} canary {beside}"
    worst = max(left, key=lambda each: abs(math.log(each.times)))
    allowed = format_change(math.expm1(worst.reach)).removeprefix("+")
    return f"the {worst.canary.value} canary left its range {beside}, by up to {format_change(worst.times - 1)}" + (
        f" where {allowed} is allowed"
    )
