"""Owns `perfsuite compare`: what the gate says of recordings that were made already, by other ones or by baselines."""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.cli.measuring import offered
from perfsuite.cli.parser import REGRESSED, UNDECIDED
from perfsuite.cli.sources import Files, Source, commands_of, foreign_lines, source_at
from perfsuite.cli.terminal import write
from perfsuite.core.baseline import Baseline
from perfsuite.core.circumstances import circumstances
from perfsuite.core.errors import BaselineError, OptionError
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import Metric
from perfsuite.core.options import (
    DEFAULT_RESOURCES,
    DEFAULT_TOLERANCES,
    GateOptions,
    merge_tolerances,
    parse_resources,
    parse_tolerances,
)
from perfsuite.core.recording import ENVIRONMENT_KEYS, Recording
from perfsuite.core.suite import Gates, Question, judge_suite
from perfsuite.core.verdict import Judgement, Outcome
from perfsuite.report.circumstances import circumstance_lines
from perfsuite.report.layout import Line
from perfsuite.report.verdicts import Commands as Offered
from perfsuite.report.verdicts import verdicts

if TYPE_CHECKING:
    from perfsuite.cli.parser import Commands

RecordingsByCell = Mapping[Cell, tuple[Recording, ...]]
StoredByCell = Mapping[Cell, Baseline | str | None]


def add_to(commands: "Commands") -> None:
    """Add the command and its arguments."""
    about = "judge recordings B by recordings or baselines A, as the gate does; nothing is measured"
    own = commands.add_parser("compare", help=about, description=about)
    own.set_defaults(run=run, tells_broken=True)
    what = "a report of --perf-json, a run's folder, a baseline, or a folder of these"
    own.add_argument("before", type=Path, metavar="A", help=f"what is judged by: {what}")
    own.add_argument("after", type=Path, metavar="B", help="what is judged, the same kinds")
    own.add_argument("-k", dest="text", default="", metavar="TEXT", help="only cells whose id contains this")
    own.add_argument("--tolerance", default="", metavar="LIST", help="as --perf-tolerance, laid over its default")
    own.add_argument("--allow-mismatch", default="", metavar="KEYS", help="as --perf-allow-mismatch")
    own.add_argument("--device", metavar="FOLDER", help="the folder of one device, if B is baselines of several")


def run(arguments: argparse.Namespace) -> int:
    """0 nothing is wrong, 1 a regression, 3 no regression, but not everything could be decided."""
    options = _options(arguments)
    before, after = source_at(arguments.before), source_at(arguments.after, arguments.device)
    measured = _chosen(after.recordings(), arguments)
    known = commands_of(after.documents) if isinstance(after, Files) else {}
    commands = offered(known, arguments.tolerance)
    stored = baselines_of(before, measured)
    judgements = judge(stored, measured, options, commands)
    write(verdicts(judgements, commands))
    whole = {cell: baseline for cell, baseline in stored.items() if isinstance(baseline, Baseline)}
    write(circumstance_lines(circumstances(judgements, whole, measured)))
    write([*_left_out(before, measured), *foreign_lines(before, after)])
    return exit_code(judgements)


def exit_code(judgements: Iterable[Judgement]) -> int:
    """What the worst verdict makes of the command's end; nothing compared is nothing decided."""
    outcomes = {verdict.outcome for judgement in judgements for verdict in judgement.all}
    if Outcome.REGRESSED in outcomes:
        return REGRESSED
    return 0 if outcomes and all(outcome.is_decided for outcome in outcomes) else UNDECIDED


def baselines_of(before: Source, measured: RecordingsByCell) -> StoredByCell:
    """What `before` has of every cell of `measured`; instead of a baseline that cannot be read, why."""
    return {cell: _of(before, own) for cell, own in measured.items()}


def judge(
    stored: StoredByCell,
    measured: RecordingsByCell,
    options: GateOptions,
    commands: Offered | None = None,
) -> tuple[Judgement, ...]:
    """Every cell of `measured` by what is stored of it: the verdicts of a run with these recordings."""
    save = (commands or offered({})).save
    gates = Gates(tolerances=options.tolerances, resources=options.resources)
    asked = [
        Question(cell=cell, gates=gates, recordings=own, stored=stored[cell], save_command=save(cell))
        for cell, own in measured.items()
    ]
    return judge_suite(asked, options)


def _of(before: Source, recordings: tuple[Recording, ...]) -> Baseline | str | None:
    """A broken baseline makes its cell invalid and leaves the others alone, as in a run."""
    try:
        return before.baseline(recordings)
    except BaselineError as error:
        return str(error)


def _chosen(recordings: RecordingsByCell, arguments: argparse.Namespace) -> RecordingsByCell:
    chosen = {cell: own for cell, own in recordings.items() if own and arguments.text in cell.id}
    if not recordings:
        raise OptionError(f"{arguments.after}: there are no recordings in it")
    if not chosen:
        ids = ", ".join(cell.id for cell in recordings)
        raise OptionError(f"-k: no cell's id contains {arguments.text!r}; {arguments.after} has {ids}")
    return chosen


def _left_out(before: Source, measured: RecordingsByCell) -> list[Line]:
    """What could have been compared with, had it been measured; a side of several devices cannot say."""
    try:
        stored = {cell.id for cell in before.recordings()}
    except (BaselineError, OptionError):
        return []
    asked = {cell.id for cell in measured}
    arms = {cell_id.rpartition("/")[0] for cell_id in asked}
    gone = sorted(cell_id for cell_id in stored - asked if cell_id.rpartition("/")[0] in arms)
    return [Line(f"in A but not in B: {', '.join(gone)}", "yellow")] if gone else []


def _options(arguments: argparse.Namespace) -> GateOptions:
    text, where = arguments.tolerance, "--tolerance"
    keys = frozenset(part.strip() for part in arguments.allow_mismatch.split(",") if part.strip())
    unknown = sorted(keys - set(ENVIRONMENT_KEYS))
    if unknown:
        raise OptionError(f"--allow-mismatch: {unknown[0]!r} is not a key; choose from {', '.join(ENVIRONMENT_KEYS)}")
    return GateOptions(
        tolerances=_merged(text, where),
        resources=merge_tolerances(DEFAULT_RESOURCES, parse_resources(text, where=where) if text else {}),
        ignored_environment=keys,
    )


def _merged(text: str, where: str) -> dict[Metric, float]:
    merged = merge_tolerances(DEFAULT_TOLERANCES, parse_tolerances(text, where=where) if text else {})
    return dict(sorted(merged.items(), key=lambda item: item[0].rank))
