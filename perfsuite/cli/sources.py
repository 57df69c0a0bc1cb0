"""Owns what a path stands for on one side of a comparison: stored baselines, or the recordings of files and runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from perfsuite.cli.documents import KINDS, Document, read_document
from perfsuite.core.baseline import UNKNOWN_COMMIT, Baseline
from perfsuite.core.calibration import choose_modes
from perfsuite.core.errors import OptionError
from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Recording
from perfsuite.core.validity import disturbance
from perfsuite.report.headings import counted
from perfsuite.report.layout import Line
from perfsuite.store import BaselineStore, load_baseline

RUN_PLAN = "run.json"


class Source(Protocol):
    """One side of a comparison: its recordings, and what a cell is judged by if it is the side to be judged by."""

    def recordings(self) -> Mapping[Cell, tuple[Recording, ...]]:
        """Every cell with its sessions; BaselineError if a file is broken."""
        ...

    def baseline(self, measured: Sequence[Recording]) -> Baseline | None:
        """What these sessions of a cell are judged by, `None` if there is nothing; BaselineError if it is broken."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A folder of baselines, each cell by its own device, or what the folder holds of one device."""

    store: BaselineStore
    device: str | None = None

    def files(self) -> Sequence[Path]:
        """The files of all its cells on its device; OptionError if that is not known."""
        device = device_of(self.store, self.device)
        return self.store.files(device, self.store.cells(device))

    def recordings(self) -> Mapping[Cell, tuple[Recording, ...]]:
        device = device_of(self.store, self.device)
        return {baseline.cell: baseline.recordings for baseline in self.store.load_all(device)}

    def baseline(self, measured: Sequence[Recording]) -> Baseline | None:
        if self.device is None:
            return self.store.load(measured[0].cell, measured[0].environment)
        files = self.store.files(device_of(self.store, self.device), (measured[0].cell.id,))
        return load_baseline(files[0]) if files else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Reports, sessions and baselines by their files; cells are found by their ids, whatever device they are of."""

    documents: tuple[Document, ...]

    def recordings(self) -> Mapping[Cell, tuple[Recording, ...]]:
        found: dict[Cell, list[Recording]] = {}
        for document in self.documents:
            for recording in document.recordings:
                found.setdefault(recording.cell, []).append(recording)
        return {cell: _numbered(own) for cell, own in found.items()}

    def baseline(self, measured: Sequence[Recording]) -> Baseline | None:
        wanted = measured[0].cell.id
        stored = [d.baseline for d in self.documents if d.baseline is not None and d.baseline.cell.id == wanted]
        if stored:
            return stored[0]
        sessions = next((own for known, own in self.recordings().items() if known.id == wanted), ())
        return _as_baseline(sessions) if sessions else None


def commands_of(documents: Iterable[Document]) -> dict[str, tuple[str, str]]:
    """By the ids of cells the commands of the runs that measured them, as far as reports hold them."""
    return {cell: pair for document in documents for cell, pair in document.commands.items()}


def source_at(path: Path, device: str | None = None) -> Source:
    """What lies at `path`; OptionError if that is nothing that can be compared.

    A folder of baselines (or of one device in it), a run's folder, a folder of files, or a file.
    """
    if not path.exists():
        raise OptionError(f"{path}: there is no such file or folder")
    stored = stored_in(path, device) if path.is_dir() else None
    if stored:
        return stored
    refuse_device(path, device)
    return Files(documents=documents_in(path) if path.is_dir() else (read_document(path),))


def stored_in(folder: Path, device: str | None = None) -> Stored | None:
    """The baselines of a folder of them, or of a device's folder in one; `None` if it is neither.

    OptionError for a device other than that of a device's folder.
    """
    store = BaselineStore(folder)
    if store.devices():
        return Stored(store=store, device=device)
    own = folder if folder.name not in ("", "..") else folder.resolve()
    above = BaselineStore(own.parent)
    if own.name not in above.devices():
        return None
    if device not in (None, own.name):
        raise OptionError(f"--device: {folder} is the folder of one device; leave --device out, or name {own.parent}")
    return Stored(store=above, device=own.name)


def refuse_device(path: Path, device: str | None) -> None:
    """OptionError if a device was asked for of what is not sorted by devices."""
    if device is not None:
        raise OptionError(f"--device: {path} is no folder of baselines, which alone hold several; leave --device out")


def foreign_lines(*sources: Source) -> Iterable[Line]:
    """A line for each folder of baselines in which there are files of somebody else."""
    for source in sources:
        foreign = source.store.foreign(source.device) if isinstance(source, Stored) else ()
        if foreign:
            more = f" and {counted(len(foreign) - 1, 'more file')}" if len(foreign) > 1 else ""
            expected = "a baseline is JSON with 'baseline', 'digest' and 'schema'"
            yield Line(f"left out: {foreign[0]}{more}, no baseline of perfsuite; {expected}", "yellow")


def documents_in(folder: Path) -> tuple[Document, ...]:
    """The files of a folder, sessions of a run among them as that run counted them."""
    paths = sorted((p for p in folder.glob("*.json") if p.name != RUN_PLAN), key=lambda p: (len(p.name), p.name))
    if not paths:
        runs = sorted(child.name for child in folder.glob("*") if any(child.glob("session-*.json")))
        named = f"name one of its runs: {', '.join(runs)}" if runs else f"name a folder of baselines, {KINDS}"
        raise OptionError(f"{folder}: there is nothing of perfsuite directly in this folder; {named}")
    documents = tuple(read_document(path) for path in paths)
    return _as_counted(documents) if (folder / RUN_PLAN).exists() else documents


def device_of(store: BaselineStore, asked: str | None) -> str:
    """The folder of the device that was asked for, or of the only one; OptionError names what there is.

    A device's name alone will do where it has one folder.
    """
    devices = store.devices()
    if not devices:
        raise OptionError(f"{store.directory}: there are no baselines; record some with: pytest --save-baseline")
    meant = [each for each in devices if asked in (None, each, each.partition("_")[0])]
    if asked in meant:
        return str(asked)
    if not meant:
        raise OptionError(f"--device: {asked!r} is not in {store.directory}; choose from {', '.join(devices)}")
    if len(meant) > 1:
        raise OptionError(
            f"--device: {store.directory} has baselines of several environments; choose {' or '.join(meant)}"
        )
    return meant[0]


def _as_counted(documents: Sequence[Document]) -> tuple[Document, ...]:
    """Without each cell's first recording on a disturbed machine, which its run set aside and measured again."""
    aside: set[str] = set()
    kept = []
    for document in documents:
        own = [r for r in document.recordings if disturbance(r) is None or r.cell.id in aside]
        aside |= {r.cell.id for r in document.recordings if disturbance(r) is not None}
        kept.append(replace(document, recordings=tuple(own)))
    return tuple(kept)


def _numbered(recordings: Iterable[Recording]) -> tuple[Recording, ...]:
    """Each session once, though several files may hold it, in the order found."""
    once = {(r.started_at, r.session, r.samples): r for r in recordings}
    return tuple(replace(recording, session=index) for index, recording in enumerate(once.values()))


def _as_baseline(sessions: tuple[Recording, ...]) -> Baseline:
    """These sessions as if they had been saved; BaselineError if they are of two environments."""
    latest = max(recording.started_at for recording in sessions)
    return Baseline(
        cell=sessions[0].cell,
        commit=UNKNOWN_COMMIT,
        saved_at=latest,
        recordings=sessions,
        modes=choose_modes(sessions),
    )
