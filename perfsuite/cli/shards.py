"""Owns the reports of a run's shards: read, and found to be all of one run, or refused in one line."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from perfsuite import __version__
from perfsuite.cli.documents import decoded, key_of, list_of, parsed
from perfsuite.core.baseline import Baseline
from perfsuite.core.errors import BaselineError, OptionError
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import parse_metric
from perfsuite.core.options import GateOptions
from perfsuite.core.recording import KEYS_OF_A_CELL, Environment, Recording
from perfsuite.core.shard import Portion
from perfsuite.core.suite import Gates
from perfsuite.report.json_report import SCHEMA

TAKES = "merge takes what --perf-json wrote of a run with --perf-shard"
MOST_NAMED = 8
"""So many of the shards that are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardCell:
    """A cell as a shard reports it: `data` is its part of the report, the rest what of it is judged anew."""

    data: Mapping[str, Any]
    cell: Cell
    recordings: tuple[Recording, ...]
    gates: tuple[Gates, ...]
    stored: Baseline | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport:
    """The report of one shard, whole (`data`) and by its cells."""

    path: Path
    data: Mapping[str, Any]
    portion: Portion
    cells: tuple[ShardCell, ...]

    @property
    def options(self) -> Any:
        return self.data["options"]

    @property
    def gate(self) -> GateOptions:
        """How the run reaches verdicts; BaselineError if the report does not say it."""
        where = f"{self.path}: options.gate"
        said = key_of(self.options, "gate", f"{self.path}: options")
        return GateOptions(
            sessions=_of_type(int, said, "sessions", where),
            family_error=_of_type(float, said, "family_error", where),
            ignored_environment=frozenset(_of_type(tuple[str, ...], said, "ignored_environment", where)),
        )

    @property
    def environments(self) -> Mapping[str, Environment]:
        """Where each strategy was measured, as far as its sessions came to know that."""
        recordings = [r for cell in self.cells for r in cell.recordings if r.environment.must_agree]
        return {recording.cell.strategy: recording.environment for recording in recordings[::-1]}


def read_shards(paths: Sequence[Path]) -> tuple[ShardReport, ...]:
    """The reports of all shards of one run, in their order.

    OptionError if they are not that, naming the first two files that differ and in what, or the shard that is missing;
    BaselineError if a file is broken.
    """
    reports = [_read(path) for path in paths]
    for other in reports[1:]:
        _check_same_run(reports[0], other)
    _check_all_there(reports)
    _check_same_machine(reports)
    return tuple(sorted(reports, key=lambda report: report.portion.index))


def _read(path: Path) -> ShardReport:
    data = parsed(path)
    if "cells" not in data or "perfsuite" not in data or not data.get("shard"):
        raise OptionError(f"{path}: not the report of a shard; {TAKES}")
    found = f"layout {data.get('schema')!r} of perfsuite {data['perfsuite']}"
    if data.get("schema") != SCHEMA or data["perfsuite"] != __version__:
        raise OptionError(
            f"{path}: {found}, this is layout {SCHEMA} of perfsuite {__version__}; merge with the version that measured"
        )
    where = f"{path}: layout {SCHEMA}"
    _of_type(bool, key_of(data, "options", where), "save_baseline", f"{where}: options")
    _of_type(Mapping[str, str], data, "unavailable", where)
    _of_type(tuple[str, ...], data, "notes", where)
    list_of(key_of(data, "environments", where), f"{where}: environments")
    _check_command(_of_type(str, data, "command", where), where)
    return ShardReport(
        path=path,
        data=data,
        portion=decoded(Portion, data["shard"], f"{where}: shard"),
        cells=tuple(_cell(c, f"{where}: cells[{i}]") for i, c in enumerate(list_of(data["cells"], f"{where}: cells"))),
    )


def _of_type(kind: Any, data: Any, key: str, where: str) -> Any:
    """What is under a key of an object, if it is of this type; else BaselineError."""
    return decoded(kind, key_of(data, key, where), f"{where}.{key}")


def _check_command(text: str, where: str) -> None:
    try:
        shlex.split(text)
    except ValueError as error:
        raise BaselineError(f"{where}: command: no command line ({error})") from error


def _cell(data: Any, where: str) -> ShardCell:
    for key in ("verdicts", "drifts"):
        list_of(key_of(data, key, where), f"{where}.{key}")
    named, *_ = [_of_type(str, data, key, where) for key in ("id", "reproduce", "save")]
    cell = _of_type(Cell, data, "cell", where)
    if cell.id != named:
        raise BaselineError(f"{where}: id: {named!r}, but its cell is {cell.id}")
    recordings = list_of(key_of(data, "recordings", where), f"{where}.recordings")
    stored = key_of(data, "stored", where)
    return ShardCell(
        data=data,
        cell=cell,
        recordings=tuple(decoded(Recording, each, f"{where}.recordings[{i}]") for i, each in enumerate(recordings)),
        gates=tuple(_gates(each, f"{where}.gates") for each in list_of(key_of(data, "gates", where), f"{where}.gates")),
        stored=None if stored is None else decoded(Baseline, stored, f"{where}.stored"),
    )


def _gates(data: Any, where: str) -> Gates:
    tolerances, resources = (key_of(data, name, where) for name in ("tolerances", "resources"))
    try:
        metrics = {parse_metric(name, where=where): float(value) for name, value in tolerances.items()}
        return Gates(
            tolerances=dict(sorted(metrics.items(), key=lambda item: item[0].rank)),
            resources={name: float(value) for name, value in resources.items()},
        )
    except (AttributeError, OverflowError, TypeError, ValueError, OptionError) as error:
        raise BaselineError(f"{where}: no tolerances ({error})") from error


def _check_same_run(first: ShardReport, other: ShardReport) -> None:
    """OptionError in one line for the first thing in which they are shards of two runs."""
    one, two = first.portion, other.portion
    told = (
        ("number of shards", one.count, two.count),
        ("run", one.run, two.run),
        ("code", one.code, two.code),
        *((f"version of {name}", one.versions.get(name), two.versions.get(name)) for name in _names(one, two)),
        *_differences(first.options, other.options, "options"),
        ("cells of the run", *_only(one.cells, two.cells)),
    )
    for name, there, here in told:
        if there != here:
            raise OptionError(f"{other.path}: of another run than {first.path}: {name}: {there} there, {here} here")


def _names(one: Portion, two: Portion) -> list[str]:
    return sorted({*one.versions, *two.versions})


def _only(one: Sequence[str], two: Sequence[str]) -> tuple[str, str]:
    """What is in one of them alone; if that is nothing, their order."""
    ours, theirs = ([each for each in a if each not in set(b)] for a, b in ((one, two), (two, one)))
    same = "in another order" if not ours and not theirs and one != two else ""
    return ", ".join(ours) or "nothing more", ", ".join(theirs) or same or "nothing more"


def _differences(one: Any, two: Any, where: str) -> list[tuple[str, Any, Any]]:
    """What differs in JSON data, by its place."""
    if isinstance(one, dict) and isinstance(two, dict):
        keys = sorted({*one, *two})
        return [each for key in keys for each in _differences(one.get(key), two.get(key), f"{where}.{key}")]
    return [] if one == two else [(where, one, two)]


def _check_all_there(reports: Sequence[ShardReport]) -> None:
    """OptionError for a shard that is there twice, or not, or not wholly."""
    found: dict[int, ShardReport] = {}
    for report in reports:
        twin = found.setdefault(report.portion.index, report)
        if twin is not report:
            raise OptionError(
                f"{report.path}: shard {report.portion.label}, which {twin.path} is already; name it once"
            )
        _check_own(report)
    count = reports[0].portion.count
    missing = [f"{i}/{count}" for i in islice((i for i in range(1, count + 1) if i not in found), MOST_NAMED)]
    if missing:
        more = f" and {count - len(found) - len(missing)} more" if count > len(found) + len(missing) else ""
        again = f"name what its --perf-json wrote, or measure it with: --perf-shard {missing[0]}"
        raise OptionError(f"shard {', '.join(missing)}{more} is missing; {again}")
    dealt: dict[str, ShardReport] = {}
    for holder, own in ((report, own) for report in reports for own in report.portion.own):
        twin = dealt.setdefault(own, holder)
        if twin is not holder:
            raise OptionError(
                f"{holder.path}: {own} is in {twin.path}, too; were these dealt by one version of perfsuite?"
            )
    left = [each for each in reports[0].portion.cells if each not in dealt]
    if left:
        raise OptionError(f"{', '.join(left)}: in no shard; were these dealt by one version of perfsuite?")


def _check_own(report: ShardReport) -> None:
    """OptionError for a report that lacks a cell of its shard, or holds one of another."""
    there = [str(cell.data["id"]) for cell in report.cells]
    unmeasured = [each for each in report.portion.own if each not in there]
    if unmeasured:
        raise OptionError(f"{report.path}: lacks {', '.join(unmeasured)}; measure it again: {_again(report)}")
    foreign = [f"{each}, which is no cell of its shard" for each in there if each not in report.portion.own]
    wrong = [*foreign, *(f"{each} twice" for each in there if there.count(each) > 1)]
    if wrong:
        raise OptionError(f"{report.path}: holds {wrong[0]}; measure it again: {_again(report)}")


def _again(report: ShardReport) -> str:
    return str(report.data["command"]) or f"--perf-shard {report.portion.label}"


def _check_same_machine(reports: Sequence[ShardReport]) -> None:
    """OptionError where the same strategy met two environments that results of one run cannot come from."""
    ignored = KEYS_OF_A_CELL | reports[0].gate.ignored_environment
    known: dict[str, tuple[ShardReport, Environment]] = {}
    for report in reports:
        for strategy, environment in report.environments.items():
            first, there = known.setdefault(strategy, (report, environment))
            differing = environment.differences(there, ignore=ignored)
            if differing:
                raise OptionError(f"{report.path}: measured elsewhere than {first.path}: {'; '.join(differing)}")
