"""Owns `perfsuite merge`: the reports of a run's shards as the report of one run, judged anew as one suite."""

import argparse
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfsuite.cli.compare import exit_code
from perfsuite.cli.documents import read_judgement
from perfsuite.cli.parser import UNDECIDED
from perfsuite.cli.shards import ShardCell, ShardReport, read_shards
from perfsuite.cli.terminal import write
from perfsuite.core import jsontext
from perfsuite.core.circumstances import circumstances
from perfsuite.core.codec import encode
from perfsuite.core.drift import Drift
from perfsuite.core.errors import OptionError
from perfsuite.core.options import Options
from perfsuite.core.suite import Question, judge_suite, suite_drifts
from perfsuite.core.suspicion import suspicion
from perfsuite.core.verdict import Judgement
from perfsuite.report import files, terminal
from perfsuite.report.attempt import attempt
from perfsuite.report.circumstances import circumstance_lines
from perfsuite.report.drifts import drifts as drift_lines
from perfsuite.report.headings import counted
from perfsuite.report.html.page import page
from perfsuite.report.json_report import encoded_drift
from perfsuite.report.layout import Line
from perfsuite.report.markdown import markdown
from perfsuite.report.run import Run
from perfsuite.report.verdicts import Commands as Offered

if TYPE_CHECKING:
    from perfsuite.cli.parser import Commands

OUTPUT, PAGE = "-o", "--html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The cells of all shards in the order of the run, and what becomes of them together."""

    shards: tuple[ShardReport, ...]
    cells: tuple[ShardCell, ...]
    judgements: tuple[Judgement, ...]
    drifts: tuple[Drift, ...]

    @property
    def unavailable(self) -> Mapping[str, str]:
        return {cell: reason for shard in self.shards for cell, reason in shard.data["unavailable"].items()}

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Ids of cells without a session that nobody calls unavailable: their shard was interrupted."""
        return tuple(c.data["id"] for c in self.cells if not c.recordings and c.data["id"] not in self.unavailable)


def add_to(commands: "Commands") -> None:
    """Add the command and its arguments."""
    about = "judge what --perf-json wrote of every shard of a run together, as a run of all cells does"
    own = commands.add_parser("merge", help=about, description=about)
    own.set_defaults(run=run, tells_broken=True)
    own.add_argument("results", type=Path, nargs="+", metavar="RESULT", help="the --perf-json file of a shard")
    own.add_argument(OUTPUT, dest="output", type=Path, required=True, metavar="FILE", help="the whole run's report")
    own.add_argument(PAGE, type=Path, metavar="FILE", help="the same as a page for people, as --perf-html writes it")


def run(arguments: argparse.Namespace) -> int:
    """0 nothing is wrong, 1 a regression, 3 no regression, but not everything was measured or could be decided."""
    named = {OUTPUT: arguments.output, PAGE: arguments.html}
    places = {option: path for option, path in named.items() if path is not None}
    for option, path in places.items():
        _check_place(path, option, arguments.results)
    files.check_distinct(places)
    merged = merge(read_shards(arguments.results))
    files.write(arguments.output, jsontext.dumps(document(merged)), OUTPUT)
    written = [Line(f"report written to {arguments.output}"), *_written_for_people(merged, arguments.html)]
    write([*_told(merged), *written])
    return _code(merged)


def _check_place(path: Path, option: str, results: Sequence[Path]) -> None:
    """OptionError, before anything is read, if nothing can be written there or a result would be lost by it."""
    files.check_writable(path, option)
    if path.exists() and any(result.exists() and result.samefile(path) for result in results):
        raise OptionError(f"{option}: {path} is one of the results; name another file")


def _written_for_people(merged: Merged, page_path: Path | None) -> Iterable[Line]:
    """The page, and the summary of the job on GitHub Actions; one that fails is a line and changes no verdict."""
    if page_path:
        _, trouble = attempt(lambda: files.write(page_path, page(as_run(merged)), PAGE))
        yield Line(trouble, "red") if trouble else Line(f"report written to {page_path}")
    summary = files.summary_path()
    if summary:
        _, trouble = attempt(lambda: files.append(summary, markdown(as_run(merged)), files.SUMMARY_VARIABLE))
        yield from [Line(trouble, "red")] if trouble else []


def as_run(merged: Merged) -> Run:
    """What the reports for people tell of it; they ask for no options."""
    commands = {cell.cell: (str(cell.data["reproduce"]), str(cell.data["save"])) for cell in merged.cells}
    reasons = merged.unavailable
    return Run(
        options=Options(),
        recordings={cell.cell: cell.recordings for cell in merged.cells},
        judgements=merged.judgements,
        baselines={cell.cell: cell.stored for cell in merged.cells if cell.stored},
        unavailable={c.cell: reasons[c.data["id"]] for c in merged.cells if c.data["id"] in reasons},
        drifts=merged.drifts,
        notes=_notes(merged),
        command=_whole(merged.shards[0].data["command"]),
        reproduce=lambda cell: commands[cell][0],
        save=lambda cell: commands[cell][1],
    )


def merge(shards: tuple[ShardReport, ...]) -> Merged:
    """Judge all cells of the shards of one run as that run does, corrected for all of them."""
    by_id = {cell.data["id"]: cell for shard in shards for cell in shard.cells}
    cells = tuple(by_id[own] for own in shards[0].portion.cells)
    if shards[0].options["save_baseline"]:
        return Merged(shards=shards, cells=cells, judgements=(), drifts=())
    judgements = _judgements(cells, shards[0])
    held = {cell.cell: cell for cell in cells}
    judged = ((each, held[each.cell].stored, held[each.cell].recordings) for each in judgements)
    return Merged(shards=shards, cells=cells, judgements=judgements, drifts=suite_drifts(judged))


def _judgements(cells: Sequence[ShardCell], shard: ShardReport) -> tuple[Judgement, ...]:
    """What has no usable baseline is not judged by anything of other cells: its shard's verdict stands."""
    asked = [
        Question(
            cell=cell.cell,
            gates=gates,
            recordings=cell.recordings,
            stored=cell.stored,
            save_command=str(cell.data["save"]),
        )
        for cell in cells
        for gates in cell.gates
        if cell.recordings
    ]
    anew = judge_suite(asked, shard.gate)
    stands = {c.cell: read_judgement(c.data, f"{shard.path}: {c.data['id']}") for c in cells if c.stored is None}
    found = [each for each in anew if each.cell not in stands]
    by_cell = {cell.cell: [each for each in found if each.cell == cell.cell] for cell in cells}
    return tuple(
        each for cell in cells for each in ([stands[cell.cell]] if cell.cell in stands else by_cell[cell.cell])
    )


def document(merged: Merged) -> dict[str, Any]:
    """The report of the whole run: every part of the shards' as it is, but for verdicts and drifts, which are anew."""
    first = merged.shards[0].data
    environments = [each for shard in merged.shards for each in shard.data["environments"]]
    return {
        **first,
        "shard": None,
        "command": _whole(first["command"]),
        "environments": [each for index, each in enumerate(environments) if each not in environments[:index]],
        "unavailable": dict(merged.unavailable),
        "notes": list(_notes(merged)),
        "cells": [_cell(cell, merged) for cell in merged.cells],
    }


def _cell(cell: ShardCell, merged: Merged) -> dict[str, Any]:
    verdicts = [verdict for judged in merged.judgements if judged.cell == cell.cell for verdict in judged.all]
    return {
        **cell.data,
        "stored": None,
        "verdicts": [encode(verdict) for verdict in verdicts],
        "drifts": [encoded_drift(drift) for drift in merged.drifts if drift.cell == cell.cell],
    }


def _whole(command: str) -> str:
    """The command line of the run without its --perf-shard."""
    words = shlex.split(command)
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if "--perf-shard" not in (before, word) and not word.startswith("--perf-shard=")
    ]
    return shlex.join(kept)


def _notes(merged: Merged) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for shard in merged.shards for note in shard.data["notes"]))


def _told(merged: Merged) -> Iterable[Line]:
    recordings = {cell.cell: cell.recordings for cell in merged.cells if cell.recordings}
    sessions = counted(sum(map(len, recordings.values())), "recording")
    cells = counted(len(merged.cells), "cell")
    yield Line(f"{counted(len(merged.shards), 'shard')}: {cells}, {sessions}", "bold")
    yield from terminal.tables(recordings)
    yield from terminal.comparison(recordings)
    if not merged.shards[0].options["save_baseline"]:
        yield from _judged(merged)
    if merged.unmeasured:
        yield Line(f"not measured: {', '.join(merged.unmeasured)}", "yellow")
    yield from (Line(note, "yellow") for note in (*_notes(merged), *dict.fromkeys(merged.unavailable.values())))


def _judged(merged: Merged) -> Iterable[Line]:
    run = as_run(merged)
    offered = Offered(reproduce=run.reproduce, save=run.save, save_all="pytest --save-baseline")
    yield from terminal.verdicts(merged.judgements, offered)
    yield from circumstance_lines(circumstances(run.judgements, run.baselines, run.recordings))
    found = suspicion(merged.judgements)
    yield from [Line(found, "yellow")] if found else []
    yield from drift_lines(merged.drifts, run.save)


def _code(merged: Merged) -> int:
    """As of a comparison; a run in which no test judges anything has nothing to decide."""
    code = exit_code(merged.judgements) if any(cell.gates for cell in merged.cells) else 0
    if merged.shards[0].options["save_baseline"]:
        code = 0
    return UNDECIDED if merged.unmeasured and code == 0 else code
