"""Owns what a baseline's sessions say of the machine: the mode of every metric, its spread, and what it can gate.

A mode is chosen by the spread between sessions of identical code, once, when the baseline is saved (docs/gate.md 7).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import median

import numpy as np

from perfsuite.core.baseline import Baseline
from perfsuite.core.canary import LARGEST_WEIGHT, RAW, Canary, Mode
from perfsuite.core.contrast import Rule, baseline_spread, detectable
from perfsuite.core.gate import LEAST_BASELINE_SESSIONS
from perfsuite.core.machine import Seen, block_factors, canary_ranges, readings, seen
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import SERIES, Metric, Series, Statistic
from perfsuite.core.noise import Noise
from perfsuite.core.recording import Recording
from perfsuite.core.remedy import obstacle
from perfsuite.core.repetition import Cost, Repetition, cost_of, repetition
from perfsuite.core.statistics import FloatArray, UnusableSamplesError, first_common, readable, session_estimates

WORTH_IT = 0.7
"""A canary is used where it lowers the spread between sessions to this share or less (docs/gate.md 7)."""
WORTH_IT_OF_FEW = 0.5
"""The same where there are fewer than eight sessions: a spread of five may be lower by a third by chance."""
LEAST_SESSIONS, MANY_SESSIONS = 5, 8
"""Below the first, a spread says too little to choose a mode by at all."""
MOST_SESSIONS = 20
"""Most sessions a baseline is worth taking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What one cell's baseline says of one metric; spreads are standard deviations of the logarithm of a session.

    `block_sd` is the spread that the blocks inside a session would cause alone, `raw_sd` the one without the canary.
    `smallest` is the slowdown that is found in 99 % of cases, `sessions_needed` how many baseline sessions can gate
    the tolerance; `None` where that cannot be, and `reason` says why. `cost` is what its sessions and samples take.
    """

    cell: Cell
    metric: Metric
    tolerance: float
    mode: Mode
    sessions: int
    session_sd: float | None = None
    raw_sd: float | None = None
    block_sd: float | None = None
    smallest: float | None = None
    sessions_needed: int | None = None
    cost: Cost | None = None
    reason: str = ""

    @property
    def can_gate(self) -> bool:
        return self.smallest is not None and self.smallest <= self.tolerance

    @property
    def process_sd(self) -> float | None:
        """What remains between fresh processes when the blocks' own noise is taken out."""
        if self.session_sd is None or self.block_sd is None:
            return None
        return math.sqrt(max(0.0, self.session_sd**2 - self.block_sd**2))

    @property
    def repetition(self) -> Repetition | None:
        """How many samples a session of this cell is worth; `None` where its spread cannot be taken apart."""
        if self.cost is None or self.block_sd is None or self.process_sd is None:
            return None
        return repetition(self.cost, block_sd=self.block_sd, process_sd=self.process_sd)


def choose_modes(recordings: Sequence[Recording]) -> dict[str, Mode]:
    """The mode of every metric that the sessions of a cell have values of, by the metric's key."""
    metrics = (Metric(series=name, statistic=statistic) for name, statistic in product(SERIES, Statistic))
    return {
        metric.key: choose_mode(metric, recordings)
        for metric in metrics
        if all(SERIES[metric.series].has_values(recording) for recording in recordings)
    }


def choose_mode(metric: Metric, recordings: Sequence[Recording]) -> Mode:
    """Raw, or the canary with the smallest spread between sessions if that is small enough beside the raw one.

    The spread that a canary is chosen by is cross-fitted: each session is divided with the weight that the other
    sessions' blocks give, so that a canary that fits by chance gains nothing.
    """
    raw = _estimates(metric, recordings, [RAW] * len(recordings))
    if len(recordings) < LEAST_SESSIONS or raw is None:
        return RAW
    best, least = RAW, _sd(raw) * (WORTH_IT if len(recordings) >= MANY_SESSIONS else WORTH_IT_OF_FEW)
    for canary, blocks in _candidates(SERIES[metric.series], recordings):
        mode = _fitted(canary, blocks)
        others = [_fitted(canary, [*blocks[:index], *blocks[index + 1 :]], mode) for index in range(len(blocks))]
        divided = None if RAW in (mode, *others) else _estimates(metric, recordings, others)
        if divided is not None and _sd(divided) < least:
            best, least = mode, _sd(divided)
    return best


def _candidates(series: Series, recordings: Sequence[Recording]) -> Iterator[tuple[Canary, list[FloatArray]]]:
    """Each canary that every block of every session has a reading of, with a table per session: a row per block of
    the logarithms of the canary's time and of the median value.
    """
    blocks = [series.by_block(recording) for recording in recordings]
    for canary in Canary:  # the device's span of an eager step holds the host's gaps, so any may tell of any
        times = [readings(recording, canary) for recording in recordings]
        if all(own.keys() <= read.keys() for own, read in zip(blocks, times, strict=True)):
            yield (
                canary,
                [
                    np.log([(read[block], median(values)) for block, values in own.items()])
                    for own, read in zip(blocks, times, strict=True)
                ],
            )


def _fitted(canary: Canary, blocks: Sequence[FloatArray], reference: Mode | None = None) -> Mode:
    """How strongly the values follow the canary from block to block, by least squares; raw if they do not."""
    table = np.concatenate(blocks)
    x, y = (table - table.mean(axis=0)).T
    scatter = float(x @ x)
    weight = min(float(x @ y) / scatter, LARGEST_WEIGHT) if scatter > 0 else 0.0
    if weight <= 0:
        return RAW
    center_ns = reference.reference_ns if reference else math.exp(float(np.median(table[:, 0])))
    return Mode(canary=canary, weight=weight, reference_ns=center_ns)


def _estimates(metric: Metric, recordings: Sequence[Recording], modes: Sequence[Mode]) -> FloatArray | None:
    """The sessions' estimates, each in its mode; `None` where a session's samples cannot be used."""
    try:
        rows = [readable(seen(metric, r, mode).values) for r, mode in zip(recordings, modes, strict=True)]
    except UnusableSamplesError:
        return None
    return session_estimates(first_common(rows), metric.statistic)


def _sd(estimates: FloatArray) -> float:
    return float(estimates.std(ddof=1))


def calibrate(
    baseline: Baseline, tolerances: Mapping[Metric, float], *, noise: Mapping[str, Noise], gates: int, looks: int
) -> tuple[Calibrated, ...]:
    """What the baseline can gate, for each of `tolerances` that it has values of; `noise` is fitted to the suite."""
    found = (
        _calibrate_one(
            baseline,
            metric,
            Rule(statistic=metric.statistic, tolerance=tolerance, gates=gates, metrics=len(tolerances), looks=looks),
            noise.get(metric.key),
        )
        for metric, tolerance in tolerances.items()
        if all(SERIES[metric.series].has_values(recording) for recording in baseline.recordings)
    )
    return tuple(found)


def _calibrate_one(baseline: Baseline, metric: Metric, rule: Rule, noise: Noise | None) -> Calibrated:
    mode = baseline.mode(metric)
    ranges = canary_ranges(baseline.recordings)
    views = [seen(metric, recording, mode, ranges) for recording in baseline.recordings]
    told = Calibrated(
        cell=baseline.cell, metric=metric, tolerance=rule.tolerance, mode=mode, sessions=len(baseline.recordings)
    )
    if missing := _too_few(views):
        return replace(told, reason=missing)
    try:
        rows = first_common([readable(view.values) for view in views if view.void is None])
    except UnusableSamplesError as error:
        return replace(told, reason=str(error))
    estimates = session_estimates(rows, rule.statistic)
    told = replace(
        told,
        session_sd=_sd(estimates),
        raw_sd=_raw_sd(baseline, metric),
        block_sd=_block_sd(baseline, metric, mode),
        cost=cost_of(baseline.recordings, SERIES[metric.series].phase),
    )
    blocked = obstacle(rows, rule, noise) if rule.statistic.is_tail else None
    if blocked is not None:
        return replace(told, reason="; ".join(blocked))
    return replace(
        told, smallest=_smallest(rows, rule, noise, len(rows)), sessions_needed=_sessions_needed(rows, rule, noise)
    )


def _too_few(views: Sequence[Seen]) -> str:
    """Why the sessions that are not void are too few to show a spread; empty if they are enough."""
    void = [view.void for view in views if view.void is not None]
    if len(views) - len(void) >= LEAST_BASELINE_SESSIONS:
        return ""
    if void:
        return f"{len(void)} of {len(views)} sessions void: {void[0]}"
    return "one session says nothing of the noise between sessions"


def _smallest(rows: FloatArray, rule: Rule, noise: Noise | None, m: int) -> float:
    """The smallest tolerance of `m` baseline sessions that spread as these do."""
    spread, more = baseline_spread(rows, rule.statistic, noise), rule.looks - 1
    grown = replace(
        spread,
        freedom=spread.freedom + m - len(rows) + more,
        measured=more,
        pool_df=spread.pool_df * (m - 1) / (len(rows) - 1),
    )
    return detectable(grown, rule, m=m, k=rule.looks)


def _sessions_needed(rows: FloatArray, rule: Rule, noise: Noise | None) -> int | None:
    counts = range(2, MOST_SESSIONS + 1)
    return next((m for m in counts if _smallest(rows, rule, noise, m) <= rule.tolerance), None)


def _raw_sd(baseline: Baseline, metric: Metric) -> float | None:
    raw = _estimates(metric, baseline.recordings, [RAW] * len(baseline.recordings))
    return None if raw is None else _sd(raw)


def _block_sd(baseline: Baseline, metric: Metric, mode: Mode) -> float | None:
    """The spread of a session's mean of block medians, from how the blocks inside the sessions differ."""
    if metric.statistic.is_tail:
        return None
    tables = [
        np.log([median(values) * factors.get(block, 1.0) for block, values in own.items()])
        for recording in baseline.recordings
        for own in [SERIES[metric.series].by_block(recording)]
        for factors in [block_factors(recording, mode, own)]
    ]
    if min(len(table) for table in tables) < 2:
        return None
    return math.sqrt(float(np.mean([table.var(ddof=1) / len(table) for table in tables])))
