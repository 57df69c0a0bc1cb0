"""Owns `perfsuite show`: what a file, a run or a stored cell holds, for people."""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.cli.compare import exit_code
from perfsuite.cli.documents import Document, read_document
from perfsuite.cli.measuring import offered
from perfsuite.cli.sources import Files, commands_of, device_of, documents_in, foreign_lines, refuse_device, stored_in
from perfsuite.cli.terminal import write
from perfsuite.core.baseline import Baseline
from perfsuite.core.errors import OptionError
from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Recording
from perfsuite.report import terminal
from perfsuite.report.contents import contents
from perfsuite.report.headings import counted
from perfsuite.report.layout import Line
from perfsuite.store import BaselineStore

if TYPE_CHECKING:
    from perfsuite.cli.parser import Commands


def add_to(commands: "Commands") -> None:
    """Add the command and its arguments."""
    about = "show what a report, a run's folder, a baseline or a stored cell holds"
    own = commands.add_parser("show", help=about, description=about)
    own.set_defaults(run=run, tells_broken=True)
    own.add_argument("what", metavar="FILE|CELL", help="a file, a folder of files, or (a part of) a stored cell's id")
    own.add_argument("-k", dest="text", default="", metavar="TEXT", help="only cells whose id contains this")
    own.add_argument("--baseline-dir", type=Path, default=Path("baselines"), metavar="DIR", help="where cells are")
    own.add_argument("--device", metavar="FOLDER", help="the folder of one device in it, if there are several")


def run(arguments: argparse.Namespace) -> int:
    """0, or what the verdicts in a report say: 1 a regression, 3 not everything was decided."""
    name, documents, notes = _found(arguments)
    recordings = _chosen(Files(documents=documents).recordings(), arguments)
    judgements = [j for d in documents for j in d.judgements if j.all and arguments.text in j.cell.id]
    write(_heading(name, documents, recordings))
    write(terminal.tables(recordings))
    write(terminal.comparison(recordings))
    for cell, own in recordings.items():
        write(contents(cell, own, _baseline(documents, cell)))
    write(terminal.verdicts(judgements, offered(commands_of(documents))) if judgements else ())
    write([*(Line(note, "yellow") for document in documents for note in document.notes), *notes])
    return exit_code(judgements) if judgements else 0


def _found(arguments: argparse.Namespace) -> tuple[str, tuple[Document, ...], Iterable[Line]]:
    """What is to be shown, how it is called and what was left out: a path if there is one, else stored cells."""
    path = Path(arguments.what)
    stored = stored_in(path, arguments.device) if path.is_dir() else None
    if stored:
        return str(path), tuple(map(read_document, stored.files())), foreign_lines(stored)
    if path.exists():
        refuse_device(path, arguments.device)
        return str(path), documents_in(path) if path.is_dir() else (read_document(path),), ()
    if path.suffix == ".json":
        raise OptionError(f"{path}: there is no such file")
    return arguments.what, _stored(arguments), ()


def _stored(arguments: argparse.Namespace) -> tuple[Document, ...]:
    """The baselines of the cell of that id, else of all whose id contains the text."""
    store = BaselineStore(arguments.baseline_dir)
    device = device_of(store, arguments.device)
    ids = store.cells(device)
    wanted = [known for known in ids if known == arguments.what] or [known for known in ids if arguments.what in known]
    if not wanted:
        where = store.directory / device
        raise OptionError(f"{arguments.what!r} is neither a file nor a cell of {where}; stored are {', '.join(ids)}")
    return tuple(read_document(path) for path in store.files(device, wanted))


def _chosen(
    recordings: Mapping[Cell, tuple[Recording, ...]], arguments: argparse.Namespace
) -> Mapping[Cell, tuple[Recording, ...]]:
    chosen = {cell: own for cell, own in recordings.items() if arguments.text in cell.id}
    if not chosen:
        ids = ", ".join(cell.id for cell in recordings) or "no recordings"
        raise OptionError(f"{arguments.what}: no cell's id contains {arguments.text!r}; it has {ids}")
    return chosen


def _baseline(documents: Iterable[Document], cell: Cell) -> Baseline | None:
    return next((d.baseline for d in documents if d.baseline is not None and d.baseline.cell == cell), None)


def _heading(
    name: str, documents: tuple[Document, ...], recordings: Mapping[Cell, tuple[Recording, ...]]
) -> tuple[Line, ...]:
    kinds = ", ".join(dict.fromkeys(document.kind for document in documents))
    sessions = counted(sum(len(own) for own in recordings.values()), "recording")
    return (Line(f"{name}: {kinds}; {counted(len(recordings), 'cell')}, {sessions}", "bold"), Line(""))
