"""Owns everything that a report can tell of one run as a value; every report is a function of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from perfsuite.core.baseline import Baseline
from perfsuite.core.drift import Drift
from perfsuite.core.matrix import Cell
from perfsuite.core.options import Options
from perfsuite.core.recording import Environment, Recording
from perfsuite.core.shard import Portion
from perfsuite.core.suite import Gates
from perfsuite.core.verdict import Judgement, Outcome, Verdict
from perfsuite.report.rows import RecordingsByCell
from perfsuite.report.twin import Row

SEVERITY = {outcome: rank for rank, outcome in enumerate(Outcome)}
WORTH_SEEING = (*(outcome for outcome in Outcome if outcome is not Outcome.PASSED), Outcome.PASSED)
"""Outcomes in the order in which a reader wants to see cells: what got faster before what stayed."""


def _no_command(_: Cell) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was asked for, measured, judged and said; `baselines` are those that the cells were judged by.

    `twin` is what was found in turns. `unavailable` says of cells why they could not be measured. `command` is the
    run's own command line, `reproduce` and `save` make those that measure one cell again and that store its baseline.
    `gates` are what each test judged a cell by, `portion` is what this was of a run that shards share.
    """

    options: Options
    recordings: RecordingsByCell
    judgements: tuple[Judgement, ...] = ()
    baselines: Mapping[Cell, Baseline] = field(default_factory=lambda: MappingProxyType({}))
    unavailable: Mapping[Cell, str] = field(default_factory=lambda: MappingProxyType({}))
    drifts: tuple[Drift, ...] = ()
    twin: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""
    reproduce: Callable[[Cell], str] = _no_command
    save: Callable[[Cell], str] = _no_command
    gates: Mapping[Cell, tuple[Gates, ...]] = field(default_factory=lambda: MappingProxyType({}))
    portion: Portion | None = None

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Those that were measured or judged."""
        return tuple(dict.fromkeys((*self.recordings, *(judgement.cell for judgement in self.judgements))))

    @property
    def all_recordings(self) -> tuple[Recording, ...]:
        return tuple(recording for own in self.recordings.values() for recording in own)

    @property
    def environments(self) -> tuple[Environment, ...]:
        """Where recordings were made, each once."""
        found: list[Environment] = []
        for recording in self.all_recordings:
            if recording.environment not in found:
                found.append(recording.environment)
        return tuple(found)

    def verdicts(self, cell: Cell) -> tuple[Verdict, ...]:
        """Every verdict on a cell, worst first."""
        return ranked([verdict for judged in self.judgements if judged.cell == cell for verdict in judged.all])

    def outcome(self, cell: Cell) -> Outcome | None:
        """The worst that became of a cell, PASSED only if nothing else did; `None` if nothing of it was judged."""
        found = {verdict.outcome for verdict in self.verdicts(cell)}
        return next((outcome for outcome in WORTH_SEEING if outcome in found), None)

    def rank(self, cell: Cell) -> int:
        """Where a cell stands in a list that shows first what changed."""
        outcome = self.outcome(cell)
        return len(WORTH_SEEING) if outcome is None else WORTH_SEEING.index(outcome)


def ranked(verdicts: list[Verdict]) -> tuple[Verdict, ...]:
    """Worst outcome first, of one outcome the change that exceeds its tolerance most first."""
    return tuple(sorted(verdicts, key=lambda verdict: (SEVERITY[verdict.outcome], -excess(verdict))))


def excess(verdict: Verdict) -> float:
    """The change in times of its tolerance, by which verdicts of one outcome are put in order; 0 without a change."""
    if verdict.change is None:
        return 0.0
    return verdict.change / verdict.tolerance if verdict.tolerance else verdict.change
