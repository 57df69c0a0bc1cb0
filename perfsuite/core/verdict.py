"""Owns the answer of the gate as a value: what was decided, from which numbers, and what would decide it."""

from dataclasses import dataclass
from enum import Enum

from perfsuite.core.matrix import Cell


class Outcome(Enum):
    """What became of one metric of one cell, worst first."""

    REGRESSED = "regressed"
    INVALID = "invalid"
    INCOMPARABLE = "incomparable"
    NO_BASELINE = "no baseline"
    INCONCLUSIVE = "inconclusive"
    PASSED = "passed"
    IMPROVED = "improved"

    @property
    def fails(self) -> bool:
        """Whether it fails the test always; the undecided ones do so only in a strict run."""
        return self in (Outcome.REGRESSED, Outcome.INVALID)

    @property
    def is_decided(self) -> bool:
        """Whether the metric was really compared and an answer found."""
        return self in (Outcome.REGRESSED, Outcome.PASSED, Outcome.IMPROVED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A confidence interval, `confidence` 0.95 for 95 %."""

    low: float
    high: float
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One metric of one cell, judged.

    `baseline` and `candidate` are the levels in the unit of the samples (geometric means of the session estimates),
    `change` their ratio minus one with its `interval`, both positive for larger values. `samples` is how many of each
    session took part. `reason` says why there is no pass, `remedy` what would decide or mend it; both empty on a pass.
    `sessions_help` says of an inconclusive verdict that more candidate sessions may decide it. `mode` is what the
    samples were divided by ('raw': nothing), `raw_change` the change without that, `moved` says which of host and
    device changed where both were timed, `void` which candidate samples took no part because the machine was not as
    the baseline knows it. `cycles_change` is the change in SM cycles, `None` where clocks are not known.
    """

    metric: str
    outcome: Outcome
    tolerance: float
    baseline: float | None = None
    candidate: float | None = None
    change: float | None = None
    interval: Interval | None = None
    baseline_sessions: int = 0
    candidate_sessions: int = 0
    samples: int = 0
    reason: str = ""
    remedy: str = ""
    sessions_help: bool = False
    mode: str = "raw"
    raw_change: float | None = None
    moved: str = ""
    void: str = ""
    cycles_change: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Every gated metric of one cell, and apart from them memory and energy, whose verdicts bear a resource's name."""

    cell: Cell
    verdicts: tuple[Verdict, ...]
    resources: tuple[Verdict, ...] = ()

    @property
    def all(self) -> tuple[Verdict, ...]:
        """Of metrics and resources."""
        return (*self.verdicts, *self.resources)

    def verdict(self, metric: str) -> Verdict | None:
        """The verdict on 'ttft.p50' or 'memory', `None` if that is not gated."""
        return next((verdict for verdict in self.all if verdict.metric == metric), None)
