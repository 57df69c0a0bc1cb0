"""Owns one run from the cells that tests ask for to judgements or saved baselines.

It measures nothing itself and decides nothing itself: sessions are processes, verdicts are pure functions.
"""

from collections.abc import Iterable
from pathlib import Path

from perfsuite.core.contrast import AGREEING_SESSIONS
from perfsuite.core.errors import OptionError
from perfsuite.core.gate import LEAST_BASELINE_SESSIONS
from perfsuite.core.matrix import Cell
from perfsuite.core.options import Options
from perfsuite.core.recording import Recording
from perfsuite.core.selftest import SelfTest
from perfsuite.core.shard import Portion
from perfsuite.core.validity import problems
from perfsuite.core.verdict import Outcome, Verdict
from perfsuite.core.workload import Workload
from perfsuite.measure.environment import commit_of
from perfsuite.plugin.bench import Bench
from perfsuite.plugin.budget import Budget
from perfsuite.plugin.chronicle import chronicle_of
from perfsuite.plugin.fleet import Fleet
from perfsuite.plugin.paths import summary_trouble
from perfsuite.plugin.progress import ProgressDisplay
from perfsuite.plugin.rounds import OFF, Rounds
from perfsuite.plugin.selection import Arm, Ask, check_distinct
from perfsuite.plugin.selftest import gated_of, prove
from perfsuite.plugin.sessions import Sessions
from perfsuite.plugin.settings import Settings
from perfsuite.plugin.shelf import Shelf
from perfsuite.plugin.twin import Twin, doubts
from perfsuite.plugin.twin_run import comparison, headline, unjudged
from perfsuite.plugin.wants import Wants
from perfsuite.report.annotations import Place


class Campaign:
    """The state of one run; it hangs on pytest's config."""

    def __init__(self, settings: Settings, display: ProgressDisplay, argv: tuple[str, ...]) -> None:
        self.settings = settings
        self.argv = argv
        self.shelf = Shelf(settings.baseline_dir)
        self.bench = Bench(self.shelf, settings.options, argv, self.recordings)
        self.is_interrupted = False
        self.selftest: SelfTest | None = None
        self.places: dict[Cell, Place] = {}
        self.written: list[Path] = []
        self.portion: Portion | None = None
        self.others_have_tests = False
        self.bisected: str | None = None
        self._display = display
        self._compared: frozenset[Cell] = frozenset()
        self._sessions: Sessions | None = None
        self._live: dict[Arm, tuple[Arm, list[Workload]]] = {}
        self.twin: Twin | None = None
        self._notes: list[str] = []
        self._check_writable()
        self.chronicle = chronicle_of(settings)

    @property
    def options(self) -> Options:
        return self.settings.options

    @property
    def headline(self) -> str:
        return headline(self.settings)

    @property
    def notes(self) -> tuple[str, ...]:
        beside = (each.notes for each in (self._sessions, self.twin) if each)
        return tuple(dict.fromkeys((*self._notes, *(note for notes in beside for note in notes))))

    def note(self, text: str) -> None:
        """Have `text` said at the end of the run."""
        self._notes.append(text)

    @property
    def unavailable(self) -> dict[Cell, str]:
        return self._sessions.unavailable if self._sessions else {}

    @property
    def cells(self) -> tuple[Cell, ...]:
        if self._sessions:
            return self._sessions.cells
        return self.twin.cells if self.twin else ()

    def recordings(self, cell: Cell) -> tuple[Recording, ...]:
        if self._sessions:
            return self._sessions.of(cell)
        return self.twin.recordings(cell) if self.twin else ()

    def problem(self, cell: Cell) -> str | None:
        """Why the numbers of a cell may not be believed; `None` if they may."""
        broken = self.twin.problem(cell) if self.twin and not self._sessions else None
        found = [problem for recording in self.recordings(cell) for problem in problems(recording)]
        return found[0] if found else broken

    @property
    def has_failed(self) -> bool:
        """Whether a gate is red or a baseline could not be saved: the run must not end green, whatever tests assert."""
        if self.options.save_baseline:
            return bool(self.shelf.errors)
        return any(verdict.outcome.fails for judgement in self.bench.judgements() for verdict in judgement.all)

    @property
    def inconclusive(self) -> tuple[Verdict, ...]:
        """The verdicts of a judging run that were left undecided; what has no baseline is not among them."""
        if self.options.save_baseline:
            return ()
        verdicts = (verdict for judgement in self.bench.judgements() for verdict in judgement.all)
        return tuple(verdict for verdict in verdicts if verdict.outcome is Outcome.INCONCLUSIVE)

    def live_arms(self, asks: tuple[Ask, ...]) -> tuple[Arm, ...]:
        """The arm of each ask, always the same object for the same arm, so that pytest opens it once."""
        for ask in asks:
            self._live.setdefault(ask.arm, (ask.arm, []))[1].append(ask.cell.workload)
        return tuple(self._live[ask.arm][0] for ask in asks)

    def live_workloads(self, arm: Arm) -> tuple[Workload, ...]:
        """Everything that collected tests ask of an arm, those that -k leaves out as well."""
        found = self._live.get(arm)
        return tuple(dict.fromkeys(found[1])) if found else ()

    def _workloads_beside(self, cell: Cell) -> tuple[Workload, ...]:
        return self.live_workloads(Arm(strategy=cell.strategy, model=cell.model))

    def measure(self, asks: Iterable[Ask], gated: Iterable[Ask], compared: Iterable[Ask] = ()) -> None:
        """Make every session this run needs; OptionError or BaselineError if it cannot begin.

        `asks` are measured; those among `gated` are judged as well, those among `compared` get sessions enough to be
        compared with each other.
        """
        self._compared = frozenset(ask.cell for ask in compared)
        self.bench.gated = tuple(dict.fromkeys(gated))
        cells = tuple(dict.fromkeys(ask.cell for ask in asks))
        if not cells:
            return
        check_distinct(cells)
        self._warn_of_few_sessions()
        try:
            if self.settings.twin.replaces_baseline:
                self._measure_in_turns((*self.bench.gated, *unjudged(asks, self.bench.gated)))
            else:
                self._measure_alone(cells)
        except KeyboardInterrupt:
            self.is_interrupted = True
            if self._sessions:
                self._load_baselines()
            raise

    def _measure_alone(self, cells: tuple[Cell, ...]) -> None:
        if self.options.save_baseline:
            self.shelf.check_writable(cells)
        is_apart = self.options.save_baseline or self.settings.fleet.is_used
        interleave = OFF if is_apart else self.settings.interleave
        rounds = Rounds(interleave, lambda cell: bool(self.shelf.other_devices(cell)))
        fleet = Fleet(self.settings, self._display, self.shelf.past, self.bench.strictest)
        try:
            self._sessions = Sessions(
                self.settings, self._display, cells, self.argv, self._workloads_beside, rounds=rounds, fleet=fleet
            )
            self._measure_to_the_end(self._sessions, fleet)
        finally:
            fleet.close()
        if self.settings.twin.confirm:
            self._confirm()
        if self.settings.selftest:
            self._prove_gate()
        if not self.shelf.errors:
            self._sessions.finish()

    def _measure_in_turns(self, asks: tuple[Ask, ...]) -> None:
        """Measure these in turns with the old arm; its checkout and all else that is temporary goes again."""
        decides_all, gates = self.settings.twin.replaces_baseline, self.bench.gates if self._sessions else 0
        self.bench.gated = () if self.settings.twin.arms else self.bench.gated
        with comparison(self.settings, self._display, self.argv, self._workloads_beside, self.note) as make:
            self.twin = make(asks, gates)
            self.bench.ask_twin(self.twin, decides_all=decides_all)
            self.twin.measure()
            self.bench.forget()
            self.bisected = make.bisect(self.twin) if self.settings.twin.bisects else None

    def _confirm(self) -> None:
        """Ask the twin about what the baseline doubts; that it cannot be asked is a note and changes no verdict."""
        doubted = tuple(ask for ask in self.bench.gated if doubts(self.bench.judgement(ask)))
        try:
            if doubted:
                self._measure_in_turns(doubted)
        except OptionError as error:
            self._notes.append(str(error))

    def _prove_gate(self) -> None:
        """The self-test; that it cannot be made is a note and changes no verdict."""
        try:
            gated = gated_of(self.bench.gated, self.shelf)
            self.selftest = prove(gated, self.settings, self._display, max(1, self.bench.gates), self._workloads_beside)
        except OptionError as error:
            self._notes.append(str(error))

    def _warn_of_few_sessions(self) -> None:
        if self.settings.append:
            return
        if self.options.save_baseline and self.options.gate.baseline_sessions < LEAST_BASELINE_SESSIONS:
            self._notes.append("--perf-sessions: a baseline of one session can judge nothing; take 5 or more")
        elif self.bench.gated and not self.options.save_baseline and self.options.gate.sessions < AGREEING_SESSIONS:
            self._notes.append(f"--perf-sessions: nothing turns red below {AGREEING_SESSIONS} sessions that agree")

    def _measure_to_the_end(self, sessions: Sessions, fleet: Fleet) -> None:
        budget = Budget(self.options.gate.budget_ns)
        wants = Wants(options=self.options, bench=self.bench, compared=self._compared)
        fresh = [cell for cell in sessions.cells if not sessions.count(cell)]
        sessions.measure(fresh)
        self._load_baselines()
        sessions.heed(budget.end_first_pass(fleet.trials_ns, is_endless=not fresh or wants.is_endless(sessions)))
        while more := wants.cells(sessions):
            if budget.is_over(fleet.trials_ns):
                self._notes.append(budget.told(len(more), "session"))
                break
            wants.measure_more(sessions, more)
        if self.options.save_baseline:
            commit = commit_of(self.settings.root)
            self.shelf.save(self._by_cell(), commit, append=self.settings.append, on_disk=sessions.are_on_disk)
        elif self.settings.update_noise:
            self.shelf.add_noise({cell: own for cell, own in self._by_cell().items() if self.bench.has_passed(cell)})

    def _by_cell(self) -> dict[Cell, tuple[Recording, ...]]:
        return {cell: self.recordings(cell) for cell in self.cells}

    def _load_baselines(self) -> None:
        self.bench.load(self._by_cell())
        gone = self.shelf.not_measured(self._by_cell())
        if gone:
            self._notes.append(f"stored but not measured in this run: {', '.join(gone)}")

    def _check_writable(self) -> None:
        if self.options.save_baseline:
            self.shelf.check_writable()
        if trouble := summary_trouble():
            self.note(trouble)
