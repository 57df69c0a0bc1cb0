"""Owns the judgement of two versions that were measured in turns: ratios of pairs, through the same judge.

An A/A session has the old version on both sides: those are the baseline, and tell how much the two places differ.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from types import MappingProxyType

import numpy as np

from perfsuite.core.attribution import attributed
from perfsuite.core.contrast import ratio
from perfsuite.core.distributions import student
from perfsuite.core.gate import judge
from perfsuite.core.judgement import refuse
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import SERIES, Metric
from perfsuite.core.noise import Noise
from perfsuite.core.noise_fit import fit_noise
from perfsuite.core.options import GateOptions
from perfsuite.core.recording import Recording
from perfsuite.core.resources import judge_resources
from perfsuite.core.statistics import FloatArray, UnusableSamplesError, session_estimate
from perfsuite.core.validity import problems
from perfsuite.core.verdict import Interval, Judgement, Outcome, Verdict

IN_TURNS = "twin"
"""The mode of a verdict on ratios."""
MUST_AGREE = ("device", "dtype", "quantization")
"""Keys of the environment in which two arms must agree to be versions of one thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinSession:
    """Two recordings of one cell that were made in turns; in an A/A session `new` is the old version as well."""

    old: Recording
    new: Recording


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was measured of one cell: A/A sessions, and those of old and new."""

    same: tuple[TwinSession, ...] = ()
    changed: tuple[TwinSession, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bias:
    """How much slower the second place is than the first with the same code (0.001: 0.1 %), over `sessions`.

    `interval` is 95 %, by Student's t on the sessions' logarithms; `None` for one session.
    """

    change: float
    interval: Interval | None
    sessions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinJudgement:
    """The verdicts on a cell, and beside each metric's key its arm bias and how many pairs old and new have."""

    judgement: Judgement
    biases: Mapping[str, Bias] = field(default_factory=lambda: MappingProxyType({}))
    pairs: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


def can_be_judged(metric: Metric) -> bool:
    """Whether ratios say anything of it: a tail of ratios is no tail of latencies."""
    return not metric.statistic.is_tail


def ratios(metric: Metric, session: TwinSession) -> FloatArray:
    """New over old, pair by pair, in the order taken; blocks in which one side lost a value take no part."""
    series = SERIES[metric.series]
    old, new = (series.by_block(side, metric.statistic) for side in (session.old, session.new))
    blocks = [block for block in old if len(old[block]) == len(new.get(block, ()))]
    above, below = ([value for block in blocks for value in side[block]] for side in (new, old))
    with np.errstate(divide="ignore", invalid="ignore"):
        found: FloatArray = np.asarray(above, dtype=np.float64) / np.asarray(below, dtype=np.float64)
    return found


def judge_twin(
    cell: Cell,
    evidence: Evidence,
    *,
    old_label: str,
    tolerances: Mapping[Metric, float],
    gates: int,
    options: GateOptions,
    noise: Mapping[str, Noise] | None = None,
    resources: Mapping[str, float] | None = None,
) -> TwinJudgement:
    """Every median and mean of the cell that is gated and has values, judged on ratios of pairs.

    `old_label` is what the old version is called, `gates` the number of verdicts in the whole run, `noise` is
    `twin_noise`. An old version that cannot be believed, or that ran on something else, is INCOMPARABLE; a new one that
    cannot be believed is INVALID. Memory and energy are judged by the recordings of old and new.
    """
    gated = {m: tolerance for m, tolerance in tolerances.items() if tolerance > 0 and can_be_judged(m)}
    obstacle = _obstacle(evidence, old_label, options)
    if obstacle is not None:
        return TwinJudgement(judgement=refuse(cell, gated, *obstacle))
    known = [metric for metric in gated if _has_values(metric, evidence.changed)]
    question = _Question(evidence=evidence, gates=gates, metrics=max(1, len(gated)), options=options, noise=noise or {})
    verdicts = [question.verdict(metric, gated[metric]) for metric in known]
    used = judge_resources(
        [each.old for each in evidence.changed], [each.new for each in evidence.changed], resources or {}
    )
    return TwinJudgement(
        judgement=Judgement(cell=cell, verdicts=attributed(verdicts), resources=used),
        biases={metric.key: bias for metric in known if (bias := arm_bias(metric, evidence.same)) is not None},
        pairs={metric.key: sum(ratios(metric, each).size for each in evidence.changed) for metric in known},
    )


def _obstacle(evidence: Evidence, old_label: str, options: GateOptions) -> tuple[Outcome, str, str] | None:
    if not evidence.changed:
        return Outcome.INVALID, "no session was measured", "measure again"
    for session in evidence.changed:
        for problem in problems(session.new):
            return Outcome.INVALID, f"session {session.new.session + 1}: {problem}", "mend the cause and measure again"
    for session in (*evidence.changed, *evidence.same):
        for recording in {id(side): side for side in (session.old, session.new)}.values():
            for problem in problems(recording):
                return Outcome.INCOMPARABLE, f"{old_label}: {problem}", "compare with a version that runs here"
    old, new = evidence.changed[0].old.environment, evidence.changed[0].new.environment
    ignored = options.ignored_environment
    differing = [text for text in new.differences(old, ignore=ignored) if text.partition(":")[0] in MUST_AGREE]
    if differing:
        return Outcome.INCOMPARABLE, f"{old_label}: {'; '.join(differing)}", "run both on the same device and dtype"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """A cell that can be compared, and all that its verdicts depend on."""

    evidence: Evidence
    gates: int
    metrics: int
    options: GateOptions
    noise: Mapping[str, Noise]

    def verdict(self, metric: Metric, tolerance: float) -> Verdict:
        verdict = judge(
            [ratios(metric, each) for each in self.evidence.same],
            [ratios(metric, each) for each in self.evidence.changed],
            metric=metric.statistic.value,
            tolerance=tolerance,
            noise=self.noise.get(metric.key),
            gates=self.gates,
            metrics=self.metrics,
            looks=self.options.twin_sessions,
            family_error=self.options.family_error,
            direction=metric.direction,
            in_turns=True,
        )
        old, new = (_level(metric, [getattr(each, side) for each in self.evidence.changed]) for side in ("old", "new"))
        return replace(verdict, metric=metric.key, mode=IN_TURNS, baseline=old, candidate=new)


def _level(metric: Metric, recordings: Iterable[Recording]) -> float | None:
    """The geometric mean of the sessions' statistics, in the unit of the samples."""
    try:
        found = [session_estimate(SERIES[metric.series].values(each), metric.statistic) for each in recordings]
    except UnusableSamplesError:
        return None
    return math.exp(fmean(found))


def arm_bias(metric: Metric, same: Sequence[TwinSession]) -> Bias | None:
    """How far apart the two places are with the same code; `None` where nothing can be computed."""
    try:
        found = [session_estimate(ratios(metric, each), metric.statistic) for each in same]
    except UnusableSamplesError:
        return None
    if not found:
        return None
    level, interval = fmean(found), None
    if len(found) > 1:
        reach = student(0.025, len(found) - 1) * stdev(found) / math.sqrt(len(found))
        interval = Interval(low=ratio(level - reach), high=ratio(level + reach))
    return Bias(change=ratio(level), interval=interval, sessions=len(found))


def twin_noise(cells: Sequence[Evidence], metrics: Iterable[Metric]) -> dict[str, Noise]:
    """The noise of the ratios of every metric by its key, fitted to the A/A sessions of all cells that have values."""
    return {
        metric.key: fit_noise(
            [[ratios(metric, each) for each in cell.same] for cell in cells if _has_values(metric, cell.same)],
            metric.statistic.value,
        )
        for metric in metrics
        if can_be_judged(metric)
    }


def _has_values(metric: Metric, sessions: Iterable[TwinSession]) -> bool:
    return any(SERIES[metric.series].has_values(side) for each in sessions for side in (each.old, each.new))


def twin_gates(evidence: Iterable[tuple[Evidence, Iterable[Metric]]]) -> int:
    """How many verdicts a run reaches: metrics that ratios can judge and that have values, over all cells."""
    return sum(
        can_be_judged(metric) and _has_values(metric, cell.changed) for cell, metrics in evidence for metric in metrics
    )
