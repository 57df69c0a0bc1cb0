"""Owns what a self-test found, as values: what replays of stored sessions and trials with real ones made of the gate.

It decides one thing only: whether the gate was wrong.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from scipy import special

from perfsuite.core.baseline import Baseline
from perfsuite.core.calibration import Calibrated
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import SERIES, Metric, Statistic, parse_metric
from perfsuite.core.verdict import Judgement, Outcome, Verdict

SLACK = 0.98
"""An injection that moves a metric by this share of its tolerance or more must not pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gated:
    """A stored baseline and the tolerances (fractions) that its cell is judged by."""

    baseline: Baseline
    tolerances: Mapping[Metric, float]

    @property
    def cell(self) -> Cell:
        return self.baseline.cell

    def metrics(self) -> tuple[Metric, ...]:
        """The gated metrics that the baseline has values of."""
        recordings = self.baseline.recordings
        return tuple(
            metric
            for metric, tolerance in self.tolerances.items()
            if tolerance > 0 and any(SERIES[metric.series].has_values(recording) for recording in recordings)
        )


def verdict_count(gated: Iterable[Gated]) -> int:
    """How many verdicts a run on these cells reaches: what the chance of an error is shared by."""
    return sum(len(each.metrics()) for each in gated)


def default_slowdown(gated: Iterable[Gated]) -> float:
    """Twice the largest tolerance of a median that the host times; of any metric if there is no such median."""
    pairs = [(metric, each.tolerances[metric]) for each in gated for metric in each.metrics()]
    medians = [
        tolerance
        for metric, tolerance in pairs
        if metric.statistic is Statistic.P50 and not SERIES[metric.series].is_device
    ]
    return 2 * max(medians or [tolerance for _, tolerance in pairs], default=0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What became of one metric under one injection, counted over replays (and, once added up, over cells).

    `effect` is what the injection does to the metric itself, as a fraction. A pass is `allowed` where that is below
    the tolerance, else it is `missed`. `sessions` are those that the decided ones took, all together.
    """

    metric: Metric
    injection: str
    effect: float
    caught: int = 0
    undecided: int = 0
    allowed: int = 0
    missed: int = 0
    sessions: int = 0

    @property
    def count(self) -> int:
        return self.caught + self.undecided + self.allowed + self.missed

    @property
    def mean_sessions(self) -> float | None:
        """Candidate sessions to a verdict, over the replays that ended with one."""
        decided = self.count - self.undecided
        return self.sessions / decided if decided else None


def added_up(tallies: Sequence[Tally]) -> Tally:
    """Tallies of one metric and injection, of several cells, as one; its effect is the median of theirs."""
    return Tally(
        metric=tallies[0].metric,
        injection=tallies[0].injection,
        effect=median(each.effect for each in tallies),
        caught=sum(each.caught for each in tallies),
        undecided=sum(each.undecided for each in tallies),
        allowed=sum(each.allowed for each in tallies),
        missed=sum(each.missed for each in tallies),
        sessions=sum(each.sessions for each in tallies),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Replays:
    """All replays of a suite: `red` of `count` had a false alarm somewhere, `red_by_metric` counts them by metric key.

    `too_few` names the cells that have not enough sessions, each with how many it has. `baseline_sessions` and
    `candidate_sessions` are how many sessions of a cell played either part.
    """

    count: int
    red: int = 0
    red_by_metric: Mapping[str, int]
    tallies: Mapping[Cell, tuple[Tally, ...]]
    too_few: Mapping[Cell, int]
    baseline_sessions: int = 0
    candidate_sessions: int = 0

    @property
    def red_bound(self) -> float | None:
        """The 95 % upper bound of the share of red replays; `None` without replays.

        Replays are drawn from the same few sessions and are not independent, so that the bound is optimistic.
        """
        return upper_bound(self.red, self.count) if self.count else None


def upper_bound(hits: int, count: int, confidence: float = 0.95) -> float:
    """The one-sided upper bound of a share found as `hits` of `count` (Clopper & Pearson 1934)."""
    return 1.0 if hits >= count else float(special.betaincinv(hits + 1, count - hits, confidence))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Real sessions, judged as in a run: nothing changed, or every event later by the fraction `slowdown`.

    `sessions_ns` holds the wall time of every session, `spent_ns` by cell that of all sessions it took part in.
    """

    slowdown: float
    judgements: tuple[Judgement, ...]
    sessions_ns: tuple[int, ...] = ()
    spent_ns: Mapping[Cell, int]

    def verdicts(self) -> tuple[tuple[Cell, Verdict], ...]:
        return tuple((judgement.cell, verdict) for judgement in self.judgements for verdict in judgement.verdicts)

    def wrong(self) -> tuple[tuple[Cell, Verdict], ...]:
        """The verdicts that a right gate does not reach: red on the same code, a pass in spite of the slowdown."""
        if self.slowdown:
            return tuple((cell, v) for cell, v in self.verdicts() if _passed(v) and self.must_show(v))
        return tuple((cell, v) for cell, v in self.verdicts() if v.outcome is Outcome.REGRESSED)

    def must_show(self, verdict: Verdict) -> bool:
        """Whether the slowdown is in this metric, and not below its tolerance; what the device times is not slowed."""
        if not self.slowdown:
            return False
        series = SERIES[parse_metric(verdict.metric, where="verdict").series]
        return not series.is_device and is_over(self.slowdown, verdict.tolerance)

    def uncompared(self) -> tuple[tuple[Cell, Verdict], ...]:
        """The verdicts that compare nothing: the session broke, or it was not the baseline's machine."""
        nothing = (Outcome.INVALID, Outcome.INCOMPARABLE, Outcome.NO_BASELINE)
        return tuple((cell, verdict) for cell, verdict in self.verdicts() if verdict.outcome in nothing)


def _passed(verdict: Verdict) -> bool:
    return verdict.outcome in (Outcome.PASSED, Outcome.IMPROVED)


def is_over(effect: float, tolerance: float) -> bool:
    """Whether a slowdown of this size must not pass."""
    return math.log1p(effect) >= SLACK * math.log1p(tolerance)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """Everything a self-test has to tell: the cells, the replays, what each baseline can gate, the real trials."""

    gated: tuple[Gated, ...]
    replays: Replays
    calibrated: tuple[Calibrated, ...]
    trials: tuple[Trial, ...] = ()

    def wrong(self) -> tuple[tuple[Cell, Verdict], ...]:
        """What the trials show the gate to do that it must not."""
        return _joined(trial.wrong() for trial in self.trials)

    def due(self) -> tuple[tuple[Cell, Verdict], ...]:
        """The gates that the trials slowed by their tolerance or more."""
        found = (trial for trial in self.trials if trial.slowdown)
        return tuple((cell, v) for trial in found for cell, v in trial.verdicts() if trial.must_show(v))

    def uncompared(self) -> tuple[tuple[Cell, Verdict], ...]:
        """What the trials could not compare at all."""
        return _joined(trial.uncompared() for trial in self.trials)

    def session_ns(self) -> float | None:
        """The wall time of a usual session; `None` if none was made."""
        times = [time_ns for trial in self.trials for time_ns in trial.sessions_ns]
        return median(times) if times else None


def _joined(found: Iterable[tuple[tuple[Cell, Verdict], ...]]) -> tuple[tuple[Cell, Verdict], ...]:
    return tuple(pair for pairs in found for pair in pairs)
