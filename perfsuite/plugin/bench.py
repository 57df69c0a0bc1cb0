"""Owns what a run makes of its sessions: judgements by the shelf's baselines, and what is said beside them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property

from perfsuite.core.calibration import Calibrated, calibrate
from perfsuite.core.drift import Drift
from perfsuite.core.errors import BaselineError
from perfsuite.core.judgement import gate_count, judge_cell, refuse, suite_noise
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import Metric, parse_metric
from perfsuite.core.noise import Noise
from perfsuite.core.options import Options
from perfsuite.core.recording import Recording
from perfsuite.core.suite import suite_drifts
from perfsuite.core.validity import unsavable
from perfsuite.core.verdict import Judgement, Outcome, Verdict
from perfsuite.plugin import commands
from perfsuite.plugin.selection import Ask
from perfsuite.plugin.shelf import Shelf
from perfsuite.plugin.twin import Twin, confirmed


class Bench:
    """Judges what was asked for (`gated`) from everything that was measured so far.

    `elsewhere` is what other shards of the run judge: it counts among the gates, and its baselines tell of the noise.
    """

    def __init__(
        self, shelf: Shelf, options: Options, argv: tuple[str, ...], recordings: Callable[[Cell], tuple[Recording, ...]]
    ) -> None:
        self.gated: tuple[Ask, ...] = ()
        self.elsewhere: tuple[Ask, ...] = ()
        self.shelf = shelf
        self._options = options
        self._argv = argv
        self._recordings = recordings
        self._noise: dict[str, Noise] = {}
        self._judged: dict[Ask, Judgement] = {}
        self._twin: Twin | None = None
        self._twin_decides_all = False

    def load(self, recordings: Mapping[Cell, tuple[Recording, ...]]) -> None:
        """Fetch the baselines of these cells; what was judged before is judged anew."""
        self.forget()
        self.shelf.load(recordings)
        self.shelf.load_elsewhere((ask.cell for ask in self.elsewhere), recordings)
        self._noise = suite_noise(self.shelf.of_suite, self._tolerances)

    def ask_twin(self, twin: Twin, *, decides_all: bool) -> None:
        """From now on judge as the twin does, or as far as the baseline leaves a doubt that the twin can end."""
        self._twin, self._twin_decides_all = twin, decides_all
        self.forget()

    def forget(self) -> None:
        """Judge anew, as there are more recordings."""
        self._judged.clear()

    def judgements(self) -> tuple[Judgement, ...]:
        """Of every cell that was measured to be judged, once per set of tolerances."""
        return tuple(self.judgement(ask) for ask in self.gated if self._recordings(ask.cell) or self._twin_decides_all)

    def judgement(self, ask: Ask) -> Judgement:
        """The verdicts on one cell by one set of tolerances, from everything measured so far."""
        if ask not in self._judged:
            self._judged[ask] = self._judge_in_turns(ask)
        return self._judged[ask]

    def _judge_in_turns(self, ask: Ask) -> Judgement:
        """By the twin alone, or as far as it was asked to confirm what the baseline says."""
        if self._twin is None or (ask not in self._twin.asks and not self._twin_decides_all):
            return self._judge(ask)
        if not self._twin.is_gate:
            return Judgement(cell=ask.cell, verdicts=())
        found = self._twin.judgement(ask)
        return found if self._twin_decides_all else confirmed(self._judge(ask), found)

    def _judge(self, ask: Ask) -> Judgement:
        """A baseline that cannot be read is INVALID: it must not quietly switch the gate off."""
        stored = self.shelf.of(ask.cell)
        tolerances = dict(ask.tolerances)
        if isinstance(stored, BaselineError):
            return refuse(ask.cell, tolerances, Outcome.INVALID, str(stored))
        judgement = judge_cell(
            ask.cell,
            stored,
            self._recordings(ask.cell),
            tolerances=tolerances,
            gates=max(1, self.gates),
            options=self._options.gate,
            noise=self._noise,
            save_command=commands.save(self._argv, ask.cell),
            resources=dict(ask.resources),
        )
        return self._with_neighbours(judgement) if stored is None else judgement

    def _with_neighbours(self, judgement: Judgement) -> Judgement:
        """Where there is no baseline, say which other devices have one."""
        others = self.shelf.other_devices(judgement.cell)
        if not others:
            return judgement
        addition = f" (there is one for {', '.join(repr(device) for device in others)})"
        verdicts = tuple(
            replace(verdict, reason=verdict.reason + addition) if verdict.outcome is Outcome.NO_BASELINE else verdict
            for verdict in judgement.verdicts
        )
        return replace(judgement, verdicts=verdicts)

    def has_passed(self, cell: Cell) -> bool:
        """Whether every gate of the cell passed and nothing slowed it on purpose, so that what it showed is noise.

        A tail that no session can decide, for want of samples or by its spread, has nothing to say.
        """
        verdicts = [v for judgement in self.judgements() if judgement.cell == cell for v in judgement.verdicts]
        outcomes = {v.outcome for v in verdicts if not _is_refused_tail(v)}
        return outcomes == {Outcome.PASSED} and not any(map(unsavable, self._recordings(cell)))

    @property
    def gates(self) -> int:
        """How many verdicts this run reaches: gated metrics that have values, over all cells."""
        if self._twin is not None and self._twin_decides_all:
            return self._twin.gates
        own = gate_count((self._recordings(ask.cell), [metric for metric, _ in ask.tolerances]) for ask in self.gated)
        return own + self._gates_elsewhere

    @property
    def _gates_elsewhere(self) -> int:
        """How many verdicts the other shards reach, by what is stored of their cells, else by what is measured here."""
        here = tuple(recording for ask in self.gated for recording in self._recordings(ask.cell))
        return gate_count(
            (self.shelf.elsewhere_of(ask.cell) or here, [metric for metric, _ in ask.tolerances])
            for ask in self.elsewhere
        )

    @cached_property
    def drifts(self) -> tuple[Drift, ...]:
        """Where the level of a cell has slowly become another one; asked for once everything is measured."""
        if self._options.save_baseline or self._twin_decides_all:
            return ()
        return suite_drifts(
            (judgement, self.shelf.of(judgement.cell), self._recordings(judgement.cell))
            for judgement in self.judgements()
        )

    def calibrations(self) -> tuple[Calibrated, ...]:
        """What the baselines saved by this run can gate."""
        noise = suite_noise([saved.new for saved in self.shelf.saved], self._tolerances)
        return tuple(
            calibrated
            for saved in self.shelf.saved
            for ask in self.gated
            if ask.cell == saved.new.cell
            for calibrated in calibrate(
                saved.new,
                dict(ask.tolerances),
                noise=noise,
                gates=max(1, self.gates),
                looks=self._options.gate.sessions,
            )
        )

    @property
    def strictest(self) -> dict[Metric, float]:
        """The smallest tolerance by which any test gates a metric; the run's own where no test judges."""
        asked = [pair for ask in self.gated for pair in ask.tolerances]
        found = {metric: min(value for other, value in asked if other == metric) for metric, _ in asked}
        return found or dict(self._options.gate.tolerances)

    @property
    def _tolerances(self) -> dict[Metric, float]:
        """Every metric that is gated anywhere in this run."""
        asks = (*self.gated, *self.elsewhere)
        return {metric: tolerance for ask in asks for metric, tolerance in ask.tolerances}


def _is_refused_tail(verdict: Verdict) -> bool:
    is_tail = parse_metric(verdict.metric, where="verdict").statistic.is_tail
    return is_tail and verdict.outcome is Outcome.INCONCLUSIVE and not verdict.sessions_help
