"""Owns `perfsuite trend` and `perfsuite history import`: reading a history, and adding what could not be added."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.cli.parser import Parser
from perfsuite.cli.terminal import write
from perfsuite.core.entry import STARTUP
from perfsuite.core.errors import OptionError
from perfsuite.core.metrics import parse_metric
from perfsuite.core.resources import RESOURCES
from perfsuite.core.trend import points
from perfsuite.history import open_history
from perfsuite.history.changes import steps
from perfsuite.report.headings import counted
from perfsuite.report.trend import trend
from perfsuite.runs import load_entry

if TYPE_CHECKING:
    from perfsuite.cli.parser import Commands
    from perfsuite.history.store import HistoryStore

URL = "an SQLite file, or postgresql://USER:PASSWORD@HOST/DATABASE"


def add_to(commands: "Commands") -> None:
    """Add both commands and their arguments."""
    _add_trend(commands)
    about = "add to a history"
    own = commands.add_parser("history", help=about, description=about)
    actions = own.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=Parser)
    about = "add a run that was kept in a file because its history could not be reached; twice is once"
    taking = actions.add_parser("import", help=about, description=about)
    taking.set_defaults(run=take_in, tells_broken=True)
    taking.add_argument("file", type=Path, metavar="FILE", help="what the run named: .perfsuite/history/….json")
    taking.add_argument("url", metavar="URL", help=URL)


def _add_trend(commands: "Commands") -> None:
    about = "print and plot a metric of a cell over the runs of a history, with its changes of level"
    own = commands.add_parser("trend", help=about, description=about)
    own.set_defaults(run=show_trend, tells_broken=True)
    own.add_argument("cell", metavar="CELL", help="the cell's id, or a part that only it has")
    own.add_argument("--history", required=True, metavar="URL", help=URL)
    own.add_argument("--metric", default="ttft.p50", help="default: ttft.p50; also startup, memory, energy, throughput")
    own.add_argument("--device", metavar="FOLDER", help="one device, if the cell ran on several: nvidia-h200")


def take_in(arguments: argparse.Namespace) -> int:
    """Add the run in the file; 0 whether it was there or not."""
    entry = load_entry(arguments.file)
    history = open_history(arguments.url, where="URL")
    added = history.append(entry)
    what = f"run {entry.id} of {entry.started_at}, {counted(len(entry.sessions), 'recording')}"
    sys.stdout.write(f"{what}: {'added to' if added else 'was already in'} {history.shown}\n")
    return 0


def show_trend(arguments: argparse.Namespace) -> int:
    """The trend on standard output; OptionError if the history has none of that cell."""
    metric = _metric(arguments.metric)
    history = open_history(arguments.history, where="--history")
    cell, device = _cell(history, arguments.cell, arguments.device)
    found = points(history.sightings(cell, device, metric))
    if not found:
        known = ", ".join(history.metrics(cell)) or "nothing"
        raise OptionError(f"--metric: there is no usable session with {metric!r} of {cell} on {device}; it has {known}")
    write(trend(cell, device, metric, found, steps(found)))
    return 0


def _metric(name: str) -> str:
    return name if name in RESOURCES or name == STARTUP else parse_metric(name, where="--metric").key


def _cell(history: "HistoryStore", asked: str, device: str | None) -> tuple[str, str]:
    """The one cell, and the one device, that is meant."""
    known = history.cells()
    ids = sorted({cell for cell, _ in known})
    meant = [cell for cell in ids if cell == asked] or [cell for cell in ids if asked in cell]
    if len(meant) != 1:
        which = f"{len(meant)} cells: {', '.join(meant)}" if meant else f"none of its cells: {', '.join(ids) or 'none'}"
        raise OptionError(f"{history.shown}: {asked!r} is {which}; name one")
    devices = [slug for cell, slug in known if cell == meant[0]]
    if device is None and len(devices) > 1:
        raise OptionError(f"--device: {meant[0]} ran on several devices; choose {' or '.join(devices)}")
    if device is not None and device not in devices:
        raise OptionError(f"--device: {meant[0]} did not run on {device!r}; choose from {', '.join(devices)}")
    return meant[0], device or devices[0]
