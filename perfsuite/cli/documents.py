"""Owns the reading of one file that perfsuite wrote: a report, a session of a run, or a baseline."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from perfsuite import runs
from perfsuite.core import jsontext
from perfsuite.core.baseline import Baseline
from perfsuite.core.codec import CodecError, decode
from perfsuite.core.errors import BaselineError, OptionError, PerfsuiteError
from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Recording
from perfsuite.core.resources import RESOURCES
from perfsuite.core.verdict import Judgement, Verdict
from perfsuite.disk import explain
from perfsuite.report.json_report import SCHEMA
from perfsuite.store import load_baseline

OLDEST_REPORT = 3
"""The first layout of the report whose recordings hold all that is judged; the second had no rooflines."""
KINDS = "a report of --perf-json, a session of a run, or a baseline"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What one file holds; `judgements` are what a report says was decided, `baseline` is a stored one itself.

    `commands` are by a cell's id those of the run that measured it: to measure it again, and to save its baseline.
    """

    kind: str
    recordings: tuple[Recording, ...]
    judgements: tuple[Judgement, ...] = ()
    notes: tuple[str, ...] = ()
    baseline: Baseline | None = None
    commands: Mapping[str, tuple[str, str]] = field(default_factory=lambda: MappingProxyType({}))


def read_document(path: Path) -> Document:
    """What the file at `path` holds; OptionError if it is none of ours, BaselineError if it is broken or too old.

    The error names the file, the key that is wrong and the number of the layout.
    """
    data = parsed(path)
    if "cells" in data and "perfsuite" in data:
        return _report(data, path)
    if "baseline" in data:
        baseline = load_baseline(path)
        return Document(kind="baseline", recordings=baseline.recordings, baseline=baseline)
    if "recordings" in data:
        return _session(data, path)
    raise OptionError(f"{path}: not a file of perfsuite; name {KINDS}")


def parsed(path: Path) -> Mapping[str, Any]:
    """The object that a file of JSON holds; OptionError if it is none, BaselineError if it is broken."""
    try:
        data = jsontext.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({explain(error)})") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{path}: not a file of perfsuite (not UTF-8 text); name {KINDS}") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise BaselineError(f"{path}: broken, not JSON: {error.msg} ({place})") from error
    except ValueError as error:
        raise BaselineError(f"{path}: broken, no JSON that can be read: {error}") from error
    if not isinstance(data, dict):
        raise OptionError(f"{path}: not a file of perfsuite; name {KINDS}")
    return data


def _report(data: Mapping[str, Any], path: Path) -> Document:
    schema = data.get("schema")
    if type(schema) is not int or not OLDEST_REPORT <= schema <= SCHEMA:
        newer = "upgrade perfsuite" if type(schema) is int and schema > SCHEMA else "measure again with --perf-json"
        raise BaselineError(
            f"{path}: schema: {schema!r}; this perfsuite reads reports of layout {OLDEST_REPORT} to {SCHEMA}; {newer}"
        )
    where = f"{path}: layout {schema}"
    cells = list_of(data["cells"], f"{where}: cells")
    return Document(
        kind=f"report of perfsuite {data['perfsuite']}, layout {schema}{_shard(data)}",
        recordings=tuple(r for index, cell in enumerate(cells) for r in _recordings(cell, f"{where}: cells[{index}]")),
        judgements=tuple(read_judgement(cell, f"{where}: cells[{index}]") for index, cell in enumerate(cells)),
        notes=tuple(str(note) for note in list_of(data.get("notes", []), f"{where}: notes")),
        commands={str(cell.get("id")): (str(cell.get("reproduce", "")), str(cell.get("save", ""))) for cell in cells},
    )


def _shard(data: Mapping[str, Any]) -> str:
    """', shard 2/3 of its run', whose verdicts are preliminary."""
    shard = data.get("shard")
    return f", shard {shard.get('index')}/{shard.get('count')} of its run" if isinstance(shard, dict) else ""


def _recordings(cell: Any, where: str) -> tuple[Recording, ...]:
    listed = list_of(key_of(cell, "recordings", where), f"{where}.recordings")
    return tuple(decoded(Recording, each, f"{where}.recordings[{index}]") for index, each in enumerate(listed))


def read_judgement(cell: Any, where: str) -> Judgement:
    """What a report says was decided of one of its cells."""
    listed = list_of(key_of(cell, "verdicts", where), f"{where}.verdicts")
    verdicts = [_verdict(each, f"{where}.verdicts[{index}]") for index, each in enumerate(listed)]
    return Judgement(
        cell=decoded(Cell, key_of(cell, "cell", where), f"{where}.cell"),
        verdicts=tuple(verdict for verdict in verdicts if verdict.metric not in RESOURCES),
        resources=tuple(verdict for verdict in verdicts if verdict.metric in RESOURCES),
    )


def _verdict(data: Any, where: str) -> Verdict:
    """What other layouts say beside a verdict's own fields is left aside, what they lack has its default."""
    if not isinstance(data, dict):
        raise BaselineError(f"{where}: expected an object")
    known = {f.name: f.default for f in fields(Verdict)}
    defaults = {name: default for name, default in known.items() if default is not MISSING}
    return decoded(Verdict, {**defaults, **{name: data[name] for name in known if name in data}}, where)


def _session(data: Mapping[str, Any], path: Path) -> Document:
    schema = data.get("schema")
    if schema != runs.SCHEMA:
        raise BaselineError(f"{path}: schema: {schema!r}; this perfsuite reads sessions of layout {runs.SCHEMA}")
    session = decoded(runs.Session, data, f"{path}: layout {schema}: session")
    return Document(kind=f"session of a run, layout {schema}", recordings=session.recordings)


def key_of(data: Any, key: str, where: str) -> Any:
    """What an object has under a key; BaselineError if it has no such key."""
    if not isinstance(data, dict) or key not in data:
        raise BaselineError(f"{where}: lacks {key!r}")
    return data[key]


def list_of(data: Any, where: str) -> Iterable[Any]:
    """The same, if it is a list; else BaselineError."""
    if not isinstance(data, list):
        raise BaselineError(f"{where}: expected a list")
    return data


def decoded(kind: type[T], data: Any, where: str) -> T:
    """The value of a type; BaselineError with the place and what is wrong there."""
    try:
        return decode(kind, data, where=where)
    except (CodecError, PerfsuiteError) as error:
        raise BaselineError(str(error)) from error
