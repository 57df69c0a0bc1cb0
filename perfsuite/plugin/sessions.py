"""Owns the sessions of one run: which were made, what they handed back, and what is on disk of them."""

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import repeat

from perfsuite.core.errors import BaselineError, OptionError
from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Environment, Recording
from perfsuite.core.sample import Failure
from perfsuite.core.validity import disturbance, problems
from perfsuite.core.workload import Workload
from perfsuite.fleet.place import UNKNOWN, Outcome
from perfsuite.measure.aftermath import after_loss, loss_note
from perfsuite.measure.clock import utc_now
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.session import Progress, SessionJob
from perfsuite.plugin.course import course
from perfsuite.plugin.fleet import Fleet
from perfsuite.plugin.progress import ProgressDisplay
from perfsuite.plugin.resume import open_run
from perfsuite.plugin.rounds import Rounds
from perfsuite.plugin.settings import Settings
from perfsuite.report.progress import end_words, problem_of


def one_each(_: Cell) -> int:
    """One more session of every cell."""
    return 1


class Sessions:
    """Makes sessions, one process each, and keeps every recording in memory and on disk as soon as it is there."""

    def __init__(
        self,
        settings: Settings,
        display: ProgressDisplay,
        cells: tuple[Cell, ...],
        argv: tuple[str, ...],
        workloads_beside: Callable[[Cell], tuple[Workload, ...]],
        *,
        rounds: Rounds,
        fleet: Fleet,
    ) -> None:
        self._settings = settings
        self._workloads_beside = workloads_beside
        self._display = display
        self._recordings: dict[Cell, list[Recording]] = {cell: [] for cell in cells}
        self.unavailable: dict[Cell, str] = {}
        self._notes: list[str] = []
        self._losses: dict[tuple[str, object], list[str]] = {}
        self._loss_notes: dict[tuple[str, object], str] = {}
        self._disturbed: set[Cell] = set()
        self._written: dict[int, Recording] = {}
        self._are_on_disk = True
        self._rounds = rounds
        self._fleet = fleet
        self._run, kept, said = open_run(settings, argv, cells)
        self._notes.extend(said)
        for recording in kept:
            self._recordings[recording.cell].append(recording)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said at the end of the run."""
        return (*self._notes, *self._loss_notes.values(), *self._rounds.notes, *self._fleet.notes)

    def of(self, cell: Cell) -> tuple[Recording, ...]:
        return tuple(self._recordings.get(cell, ()))

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(self._recordings)

    @property
    def at_once(self) -> int:
        """How many sessions may run at the same time."""
        return self._fleet.size

    def count(self, cell: Cell) -> int:
        return len(self._recordings[cell])

    def took_turns(self, cell: Cell) -> bool:
        """Whether it was measured in turns with other strategies, which is done to compare them."""
        return any(recording.beside for recording in self._recordings[cell])

    def repeats_turns(self, cell: Cell) -> bool:
        """Whether it did, and is worth doing again."""
        return self._rounds.repeat and self.took_turns(cell)

    def heed(self, first_pass_ns: int) -> None:
        """How long it took to measure everything once, on which it depends what is repeated."""
        if any(map(self.took_turns, self.cells)):
            self._rounds.heed(first_pass_ns)

    def is_open(self, cell: Cell) -> bool:
        """Whether another session of this cell could tell anything: it runs here and nothing broke so far."""
        return cell not in self.unavailable and not any(problems(recording) for recording in self.of(cell))

    def measure(self, cells: Iterable[Cell], sessions: Callable[[Cell], int] = one_each) -> None:
        """One more session of each of these cells, or as many as `sessions` says; those of an arm share a process.

        Processes of several strategies take turns where they may and fit in memory together; the others are dealt to
        the places of the run.

        OptionError if what the user asked for is refused before anything was measured; later refusals, crashes and
        hangs become failures of the cells they hit, and the others go on.
        """
        arms: dict[tuple[str, object], list[Cell]] = {}
        for cell in filter(self.is_open, cells):
            arms.setdefault((cell.strategy, cell.model), []).append(cell)
        groups = self._rounds.groups(arms)
        self._fleet.deal([group[0] for group in groups if len(group) == 1], sessions, self)
        for group in groups:
            if len(group) > 1:
                session, ends = self._in_turns(group)
                self._fleet.go_on((course(self, *each) for each in zip(group, repeat(session), ends)), self)
        for own in self._recordings.values():
            own.sort(key=lambda recording: recording.session)

    def _in_turns(self, group: list[list[Cell]]) -> tuple[int, tuple[SessionEnd | None, ...]]:
        """A session of every arm, all at once and in turns; `None` for those that are to be measured by themselves."""
        session = max(self.count(cell) for cells in group for cell in cells)
        jobs = [self.job(cells, session) for cells in group]
        self._display.session_began(jobs[0])
        ends = self._rounds.run(jobs, self._display.goes_on, lambda end: self._write(end.recordings))
        for job, end in zip(jobs, ends, strict=True):
            if end is not None:
                self.ended(job, Outcome(end=end, notes=self._fleet.settle()))
        return session, ends

    @property
    def are_on_disk(self) -> bool:
        """Whether a later run could go on with all of them."""
        return self._are_on_disk

    def finish(self) -> None:
        """Mark the run as complete; a disk that refuses that is a note, as all is measured."""
        try:
            self._run.finish()
        except BaselineError as error:
            self.note(str(error))

    def accept_loss(
        self, end: SessionEnd, aside: Mapping[Cell, Recording], cells: list[Cell]
    ) -> tuple[Mapping[Cell, Recording], tuple[Cell, ...]]:
        """Keep what a session measured before it lost its device; the cells that are to be measured once more.

        Behind them those that were set aside, as the machine was disturbed.
        """
        faults = self._losses.setdefault((cells[0].strategy, cells[0].model), [])
        faults.append(str(end.lost))
        after = after_loss(end, aside, len(faults))
        self._loss_notes[cells[0].strategy, cells[0].model] = loss_note(cells, faults, after)
        return after.again, self.keep(after.kept)

    def job(self, cells: list[Cell], session: int) -> SessionJob:
        return SessionJob(
            reference=self._settings.reference(cells[0].strategy),
            cells=tuple(cells),
            session=session,
            measure=self._settings.options.measure,
            workloads=self._workloads_beside(cells[0]),
            import_path=tuple(sys.path),
            engine_dir=self._settings.engine_dir,
            was_checked=all(self._was_checked(cell) for cell in cells),
        )

    def _was_checked(self, cell: Cell) -> bool:
        """Whether a session of this run has looked at all of what it draws."""
        return any(recording.sampling is not None and recording.sampling.is_complete for recording in self.of(cell))

    def began(self, job: SessionJob, place: str) -> None:
        self._display.session_began(job, place)

    def progressed(self, job: SessionJob, progress: Progress) -> None:
        self._display.goes_on(job, progress)

    def ended(self, job: SessionJob, outcome: Outcome) -> None:
        """A session has ended; what follows from that is not decided here."""
        if outcome.end is None:
            return
        self._display.session_ended(end_words(outcome.end), outcome.end.recordings, job)
        self._keep_output(outcome.end)
        for text in outcome.notes:
            self.note(text)

    def note(self, text: str) -> None:
        """Have `text` said once at the end of the run."""
        if text not in self._notes:
            self._notes.append(text)

    def _keep_output(self, end: SessionEnd) -> None:
        """What a worker that broke has written last, as a file that a note names, if there is room for it."""
        if not end.output.strip():
            return
        with suppress(BaselineError):
            self.note(f"a session broke; its last output is in {self._run.keep_output(end.output)}")

    def accept(self, end: SessionEnd, cells: list[Cell], session: int) -> tuple[Cell, ...]:
        """Keep what a session handed back, or why it did not; the cells that were set aside."""
        if end.recordings:
            return self.keep(end.recordings)
        if end.unavailable and not self._settings.strategies_were_named:
            self.unavailable.update(dict.fromkeys(cells, end.unavailable))
            return ()
        if end.refused and not any(self._recordings.values()):
            raise OptionError(end.refused)
        stage, message = ("worker", end.died) if end.died else ("open", problem_of(end))
        return self.fail(cells, session, stage, message, end.environment)

    def fail(
        self, cells: list[Cell], session: int, stage: str, message: str, environment: Environment | None
    ) -> tuple[Cell, ...]:
        """Let these cells have a recording that says why it holds nothing."""
        failure = Failure(stage=stage, message=message)
        return self.keep(
            tuple(
                Recording(
                    cell=cell,
                    environment=environment or UNKNOWN,
                    session=session,
                    started_at=utc_now(),
                    failures=(failure,),
                )
                for cell in cells
            )
        )

    def keep(self, recordings: tuple[Recording, ...]) -> tuple[Cell, ...]:
        """In memory and on disk; the first recording of a cell on a disturbed machine on disk only, to be made anew.

        The cells of the latter.
        """
        aside: list[Cell] = []
        for recording in recordings:
            disturbed = disturbance(recording)
            if disturbed and recording.cell not in self._disturbed:
                self._disturbed.add(recording.cell)
                aside.append(recording.cell)
                self.note(f"{recording.cell.id}: {disturbed}; this session was set aside and measured once more")
            else:
                self._recordings[recording.cell].append(recording)
        self._write(recording for recording in recordings if id(recording) not in self._written)
        return tuple(aside)

    def _write(self, recordings: Iterable[Recording]) -> None:
        new = tuple(recordings)
        self._written.update((id(recording), recording) for recording in new)
        try:
            if new:
                self._run.add(new)
        except BaselineError as error:
            self._are_on_disk = False
            self.note(f"{error}; this session is kept in memory only")
