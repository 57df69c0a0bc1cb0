"""Owns the baselines of one run: read once the device is known, judged by, and replaced by --save-baseline alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from perfsuite.core.baseline import Baseline
from perfsuite.core.errors import BaselineError
from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Recording
from perfsuite.core.validity import unsavable
from perfsuite.measure.clock import utc_now
from perfsuite.store import BaselineStore

Recordings = Mapping[Cell, tuple[Recording, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A baseline that was written, and the one it replaced."""

    old: Baseline | None
    new: Baseline


class Shelf:
    """What is stored of the cells of a run, what was saved, and what could not be."""

    def __init__(self, directory: Path) -> None:
        self._store = BaselineStore(directory)
        self._found: dict[Cell, Baseline | BaselineError | None] = {}
        self.saved: list[Saved] = []
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

    def other_devices(self, cell: Cell) -> tuple[str, ...]:
        """Devices that have a baseline of this cell."""
        return self._store.devices_with(cell)

    def not_measured(self, recordings: Recordings) -> tuple[str, ...]:
        """Ids of the cells stored for these devices, strategies and models that this run did not ask for."""
        slugs = {recording.environment.slug for own in recordings.values() for recording in own}
        stored = {cell_id for slug in slugs for cell_id in self._store.cells(slug)}
        asked = {cell.id for cell in recordings}
        arms = {cell_id.rpartition("/")[0] for cell_id in asked}
        return tuple(sorted(cell_id for cell_id in stored - asked if cell_id.rpartition("/")[0] in arms))

    def save(self, recordings: Recordings, commit: str) -> None:
        """Store every cell whose recordings may be believed; `errors` says why for the others."""
        for cell, own in recordings.items():
            reasons = [reason for recording in own for reason in unsavable(recording)]
            if reasons:
                self.errors[cell] = f"{cell.id}: not saved: {reasons[0]}"
            elif own:
                self._save_one(cell, own, commit)

    def _save_one(self, cell: Cell, recordings: tuple[Recording, ...], commit: str) -> None:
        old = self._found.get(cell)
        try:
            new = Baseline(cell=cell, commit=commit, saved_at=utc_now(), recordings=recordings)
            self._store.save(new)
        except BaselineError as error:
            self.errors[cell] = f"{error}; the sessions are kept: mend it and use --save-baseline --perf-resume"
            return
        self.saved.append(Saved(old=old if isinstance(old, Baseline) else None, new=new))
