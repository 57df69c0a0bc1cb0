"""Owns the baselines of one run: read once the device is known, judged by, and replaced by --save-baseline alone."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from perfsuite.core.baseline import Baseline
from perfsuite.core.calibration import choose_modes
from perfsuite.core.errors import BaselineError
from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Recording
from perfsuite.core.sample import Phase
from perfsuite.core.validity import unsavable
from perfsuite.measure.clock import utc_now
from perfsuite.store import BaselineStore

MOST_LATER = 20
"""How many sessions of later runs a baseline keeps; the oldest go first."""

Recordings = Mapping[Cell, tuple[Recording, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A baseline that was written, and the one it replaced."""

    old: Baseline | None
    new: Baseline


class Shelf:
    """What is stored of the cells of a run, what was saved, and what could not be.

    `measured_elsewhere` are the ids of cells that other shards of the run measure.
    """

    def __init__(self, directory: Path) -> None:
        self._store = BaselineStore(directory)
        self._found: dict[Cell, Baseline | BaselineError | None] = {}
        self._elsewhere: dict[Cell, Baseline] = {}
        self.measured_elsewhere: frozenset[str] = frozenset()
        self.saved: list[Saved] = []
        self.updated: list[Cell] = []
        self.not_updated: dict[Cell, str] = {}
        self.errors: dict[Cell, str] = {}

    def check_writable(self, cells: Iterable[Cell] = ()) -> None:
        """BaselineError if the baselines of these cells could not be saved."""
        self._store.check_writable(cells)

    def load(self, recordings: Recordings) -> None:
        """Read the baselines for the device that the recordings were made on; a broken file is kept as its error."""
        for cell, own in recordings.items():
            if own:
                try:
                    self._found[cell] = self._store.load(cell, own[0].environment)
                except BaselineError as error:
                    self._found[cell] = error

    def of(self, cell: Cell) -> Baseline | BaselineError | None:
        """The baseline of a cell, why it cannot be read, or `None` if there is none."""
        return self._found.get(cell)

    @property
    def usable(self) -> tuple[Baseline, ...]:
        return tuple(found for found in self._found.values() if isinstance(found, Baseline))

    def load_elsewhere(self, cells: Iterable[Cell], recordings: Recordings) -> None:
        """Read, as far as they are here, the baselines of cells that other shards of the run measure.

        Their device is taken to be that of this shard's recordings, of the same strategy where there are any.
        """
        made = [recording for own in recordings.values() for recording in own if recording.environment.must_agree]
        places = {recording.cell.strategy: recording.environment for recording in made[::-1]}
        for cell in dict.fromkeys(cells) if made else ():
            with suppress(BaselineError):  # whoever judges by it says so
                stored = self._store.load(cell, places.get(cell.strategy, made[0].environment))
                self._elsewhere.update({cell: stored} if stored else {})

    def elsewhere_of(self, cell: Cell) -> tuple[Recording, ...]:
        """The stored sessions of a cell that another shard measures, none where there is no baseline."""
        stored = self._elsewhere.get(cell)
        return stored.recordings if stored else ()

    @property
    def of_suite(self) -> tuple[Baseline, ...]:
        """The baselines of this run's cells, then those of other shards."""
        return (*self.usable, *self._elsewhere.values())

    def other_devices(self, cell: Cell) -> tuple[str, ...]:
        """Devices that have a baseline of this cell."""
        return self._store.devices_with(cell)

    def past(self, cell: Cell, is_wanted: Callable[[str], bool]) -> Baseline | None:
        """The newest stored of a cell by devices that are wanted; `None` if there is nothing that can be read."""
        return self._store.any_of(cell, is_wanted)

    def not_measured(self, recordings: Recordings) -> tuple[str, ...]:
        """Ids of the cells stored for these devices, strategies and models that no shard of this run asks for."""
        places = {recording.environment.key: recording.environment for own in recordings.values() for recording in own}
        stored = {cell_id for place in places.values() for cell_id in self._store.cells_for(place)}
        asked = {cell.id for cell in recordings} | self.measured_elsewhere
        arms = {cell_id.rpartition("/")[0] for cell_id in asked}
        return tuple(sorted(cell_id for cell_id in stored - asked if cell_id.rpartition("/")[0] in arms))

    def save(self, recordings: Recordings, commit: str, *, append: bool = False, on_disk: bool = True) -> None:
        """Store every cell whose recordings may be believed; `errors` says why for the others.

        With `append` they join the sessions that are stored; the modes are chosen anew from all of them. `on_disk` says
        whether the run keeps the sessions, so that what could not be saved can be saved from them.
        """
        for cell, own in recordings.items():
            reasons = [reason for recording in own for reason in unsavable(recording)]
            if reasons:
                self.errors[cell] = f"{cell.id}: not saved: {reasons[0]}"
            elif own:
                self._save_one(cell, own, commit, append=append, on_disk=on_disk)

    def add_noise(self, recordings: Recordings) -> None:
        """Let the sessions of later runs that passed tell of the noise; the level and the modes stay.

        `updated` are the cells that learnt, `not_updated` says why others could not: no verdict hangs on it.
        """
        for cell, own in recordings.items():
            old = self._found.get(cell)
            if isinstance(old, Baseline) and own:
                later = _renumbered(_once((*old.later, *own))[-MOST_LATER:])
                try:
                    self._store.save(replace(old, later=later))
                except BaselineError as error:
                    self.not_updated[cell] = f"{cell.id}: --perf-update-noise: {error}"
                    continue
                self.updated.append(cell)

    def _save_one(
        self, cell: Cell, recordings: tuple[Recording, ...], commit: str, *, append: bool, on_disk: bool
    ) -> None:
        old = self._found.get(cell)
        try:
            if append and isinstance(old, BaselineError):
                raise old
            earlier = old if append and isinstance(old, Baseline) else None
            new = _joined(earlier, cell, recordings, commit)
            self._store.save(new)
        except BaselineError as error:
            again = f"--save-baseline{' --perf-resume' if on_disk else ''}{' --perf-baseline-append' if append else ''}"
            kept = "the sessions are kept" if on_disk else "the sessions could not be kept either"
            self.errors[cell] = f"{error}; {kept}: mend it and use {again}"
            return
        self.saved.append(Saved(old=old if isinstance(old, Baseline) else None, new=new))


def _joined(old: Baseline | None, cell: Cell, new: tuple[Recording, ...], commit: str) -> Baseline:
    """A baseline of the new sessions, behind those of the old one if there is one; BaselineError if they do not fit."""
    if old is not None:
        differing = (*old.mismatches(new[0]), *_size_differences(old, new))
        if differing:
            raise BaselineError(f"{cell.id}: --perf-baseline-append: these sessions do not fit: {'; '.join(differing)}")
    recordings = _renumbered(_once((*(old.recordings if old else ()), *new)))
    return Baseline(
        cell=cell,
        commit=commit,
        saved_at=utc_now(),
        recordings=recordings,
        modes=choose_modes(recordings),
        later=old.later if old else (),
    )


def _size_differences(old: Baseline, new: tuple[Recording, ...]) -> tuple[str, ...]:
    """Sessions of other sizes would be cut to the shortest, or refused."""
    sides = [{phase: max(len(r.of_phase(phase)) for r in own) for phase in Phase} for own in (old.recordings, new)]
    return tuple(
        f"{phase.value} samples: {sides[0][phase]} there, {sides[1][phase]} here"
        for phase in Phase
        if sides[0][phase] != sides[1][phase]
    )


def _once(recordings: tuple[Recording, ...]) -> tuple[Recording, ...]:
    """Each session once, though it may have been stored before the run that measured it was resumed."""
    found = {(r.started_at, tuple(sorted(r.environment.must_agree.items())), r.samples): r for r in recordings[::-1]}
    return tuple(found.values())[::-1]


def _renumbered(recordings: tuple[Recording, ...]) -> tuple[Recording, ...]:
    return tuple(replace(recording, session=index) for index, recording in enumerate(recordings))
