"""Owns the sessions of one run: which were made, what they handed back, and what is on disk of them."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from perfsuite import runs
from perfsuite.core.codec import encode
from perfsuite.core.errors import BaselineError, OptionError
from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Environment, Recording
from perfsuite.core.sample import Failure
from perfsuite.core.validity import disturbance, problems
from perfsuite.core.workload import Workload
from perfsuite.measure.aftermath import after_loss, loss_note
from perfsuite.measure.clock import utc_now
from perfsuite.measure.environment import code_state, installed_versions
from perfsuite.measure.launcher import SessionEnd, run_session
from perfsuite.measure.session import SessionJob
from perfsuite.measure.settling import Settling
from perfsuite.plugin.progress import ProgressDisplay
from perfsuite.plugin.rounds import Rounds
from perfsuite.plugin.settings import Settings
from perfsuite.report.progress import end_words, problem_of

UNKNOWN = Environment(device="unknown", must_agree={}, noted={})


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
    ) -> None:
        self._settings = settings
        self._workloads_beside = workloads_beside
        self._display = display
        self._recordings: dict[Cell, list[Recording]] = {cell: [] for cell in cells}
        self.unavailable: dict[Cell, str] = {}
        self._notes: list[str] = []
        self._losses: dict[tuple[str, object], list[str]] = {}
        self._loss_notes: dict[tuple[str, object], str] = {}
        self._disturbed: dict[Cell, Recording] = {}
        self._settling = Settling()
        self._rounds = rounds
        self._run = self._open_run(argv)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said at the end of the run."""
        return (*self._notes, *self._loss_notes.values(), *self._rounds.notes)

    def of(self, cell: Cell) -> tuple[Recording, ...]:
        return tuple(self._recordings.get(cell, ()))

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(self._recordings)

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

    def measure(self, cells: Iterable[Cell]) -> None:
        """One more session of each of these cells; those of one strategy and model share a process.

        Processes of several strategies take turns where they may and fit in memory together.

        OptionError if what the user asked for is refused before anything was measured; later refusals, crashes and
        hangs become failures of the cells they hit, and the others go on.
        """
        arms: dict[tuple[str, object], list[Cell]] = {}
        for cell in filter(self.is_open, cells):
            arms.setdefault((cell.strategy, cell.model), []).append(cell)
        for group in self._rounds.groups(arms):
            ends = self._in_turns(group) if len(group) > 1 else (None,)
            for members, end in zip(group, ends, strict=True):
                known = set(self._disturbed)
                self._measure_arm(members, end)
                again = [cell for cell in members if cell in self._disturbed and cell not in known]
                if again:
                    self._settling.before_retry()
                    self._measure_arm(again)

    def _in_turns(self, group: list[list[Cell]]) -> tuple[SessionEnd | None, ...]:
        """A session of every arm, all at once and in turns; `None` for those that are to be measured by themselves."""
        session = max(self.count(cell) for cells in group for cell in cells)
        jobs = [replace(self._job(cells), session=session) for cells in group]
        self._display.session_began(jobs[0])
        ends = self._rounds.run(jobs, self._display.goes_on)
        for job, end in zip(jobs, ends, strict=True):
            if end is not None:
                self._tell_end(job, end)
        return ends

    def finish(self) -> None:
        self._run.finish()

    def _measure_arm(self, cells: list[Cell], first: SessionEnd | None = None) -> None:
        """A session of all; cells that it was at when its process or its device went are left out of the next.

        `first` is how it ended, if it was made already.
        """
        aside: Mapping[Cell, Recording] = {}
        while cells:
            end, first = first or self._one_session(cells), None
            if end.lost and end.recordings:
                aside = self._accept_loss(end, aside, cells)
                cells = list(aside)
                continue
            if aside and not end.recordings and end.culprit is None:
                self._keep(tuple(aside[cell] for cell in cells))
                self._notes.append(f"{cells[0].id}: the fresh process failed as well: {problem_of(end)}")
                return
            if end.culprit is None or end.broken:
                self._accept(end, cells)
                return
            self._fail([end.culprit], "worker", str(end.died), end.environment)
            cells = [cell for cell in cells if cell != end.culprit]

    def _accept_loss(
        self, end: SessionEnd, aside: Mapping[Cell, Recording], cells: list[Cell]
    ) -> Mapping[Cell, Recording]:
        """Keep what a session measured before it lost its device; the cells that are to be measured once more."""
        faults = self._losses.setdefault((cells[0].strategy, cells[0].model), [])
        faults.append(str(end.lost))
        after = after_loss(end, aside, len(faults))
        self._keep(after.kept)
        self._loss_notes[cells[0].strategy, cells[0].model] = loss_note(cells, faults, after)
        return after.again

    def _one_session(self, cells: list[Cell]) -> SessionEnd:
        job = self._job(cells)
        self._display.session_began(job)
        end = run_session(job, self._display.progressed)
        self._tell_end(job, end)
        return end

    def _job(self, cells: list[Cell]) -> SessionJob:
        return SessionJob(
            reference=self._settings.reference(cells[0].strategy),
            cells=tuple(cells),
            session=max(self.count(cell) for cell in cells),
            measure=self._settings.options.measure,
            workloads=self._workloads_beside(cells[0]),
            import_path=tuple(sys.path),
            engine_dir=self._settings.engine_dir,
        )

    def _tell_end(self, job: SessionJob, end: SessionEnd) -> None:
        self._display.session_ended(end_words(end), end.recordings, job)
        self._keep_output(end)
        held = self._settling.after_session()
        self._notes += [held] if held and held not in self._notes else []

    def _keep_output(self, end: SessionEnd) -> None:
        """What a worker that broke has written last, as a file that a note names, if there is room for it."""
        if not end.output.strip():
            return
        with suppress(BaselineError):
            self._notes.append(f"a session broke; its last output is in {self._run.keep_output(end.output)}")

    def _accept(self, end: SessionEnd, cells: list[Cell]) -> None:
        if end.recordings:
            self._keep(end.recordings)
        elif end.unavailable and not self._settings.strategies_were_named:
            self.unavailable.update(dict.fromkeys(cells, end.unavailable))
        elif end.refused and not any(self._recordings.values()):
            raise OptionError(end.refused)
        elif end.died:
            self._fail(cells, "worker", end.died, end.environment)
        else:
            self._fail(cells, "open", problem_of(end), end.environment)

    def _fail(self, cells: list[Cell], stage: str, message: str, environment: Environment | None) -> None:
        self._keep(
            tuple(
                Recording(
                    cell=cell,
                    environment=environment or UNKNOWN,
                    session=self.count(cell),
                    started_at=utc_now(),
                    failures=(Failure(stage=stage, message=message),),
                )
                for cell in cells
            )
        )

    def _keep(self, recordings: tuple[Recording, ...]) -> None:
        """In memory and on disk; the first recording of a cell on a disturbed machine on disk only, to be made anew."""
        for recording in recordings:
            disturbed = disturbance(recording)
            if disturbed and recording.cell not in self._disturbed:
                self._disturbed[recording.cell] = recording
                self._notes.append(
                    f"{recording.cell.id}: {disturbed}; this session was set aside and measured once more"
                )
            else:
                self._recordings[recording.cell].append(recording)
        try:
            self._run.add(recordings)
        except BaselineError as error:
            self._notes.append(f"{error}; this session is kept in memory only")

    def _open_run(self, argv: tuple[str, ...]) -> runs.Run:
        digest = self._digest()
        ids = tuple(cell.id for cell in self.cells)
        earlier = runs.latest_unfinished(self._settings.root, digest) if self._settings.resume else None
        if earlier is None:
            if self._settings.resume:
                self._notes.append(
                    "--perf-resume: there is no interrupted run of these cells and options; starting anew"
                )
            return runs.start(self._settings.root, digest, argv, ids)
        progress = earlier.progress()
        self._notes.extend(progress.notes)
        usable = [r for r in progress.recordings if r.cell in self._recordings and not problems(r)]
        for recording in usable:
            self._recordings[recording.cell].append(recording)
        self._notes.append(f"--perf-resume: went on with {len(usable)} recordings of {earlier.folder.name}")
        return earlier

    def _digest(self) -> str:
        """Two runs with the same digest measure the same cells of the same code in the same way."""
        options = self._settings.options
        code = code_state(self._settings.root)
        plan = [encode(self.cells), encode(options.measure), options.save_baseline, code, installed_versions()]
        return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
