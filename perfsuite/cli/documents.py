"""Owns the reading of one file that perfsuite wrote: a report, a session of a run, or a baseline."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from perfsuite import runs
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
    """What one file holds; `judgements` are what a report says was decided, `baseline` is a stored one itself."""

    kind: str
    recordings: tuple[Recording, ...]
    judgements: tuple[Judgement, ...] = ()
    notes: tuple[str, ...] = ()
    baseline: Baseline | None = None


def read_document(path: Path) -> Document:
    """What the file at `path` holds; OptionError if it is none of ours, BaselineError if it is broken or too old.

    The error names the file, the key that is wrong and the number of the layout.
    """
    data = _parsed(path)
    if "cells" in data and "perfsuite" in data:
        return _report(data, path)
    if "baseline" in data:
        baseline = load_baseline(path)
        return Document(kind="baseline", recordings=baseline.recordings, baseline=baseline)
    if "recordings" in data:
        return _session(data, path)
    raise OptionError(f"{path}: not a file of perfsuite; name {KINDS}")


def _parsed(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({explain(error)})") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{path}: not a file of perfsuite (not UTF-8 text); name {KINDS}") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise BaselineError(f"{path}: broken, not JSON: {error.msg} ({place})") from error
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
    cells = _list(data["cells"], f"{where}: cells")
    return Document(
        kind=f"report of perfsuite {data['perfsuite']}, layout {schema}",
        recordings=tuple(r for index, cell in enumerate(cells) for r in _recordings(cell, f"{where}: cells[{index}]")),
        judgements=tuple(_judgement(cell, f"{where}: cells[{index}]") for index, cell in enumerate(cells)),
        notes=tuple(str(note) for note in _list(data.get("notes", []), f"{where}: notes")),
    )


def _recordings(cell: Any, where: str) -> tuple[Recording, ...]:
    listed = _list(_key(cell, "recordings", where), f"{where}.recordings")
    return tuple(_decoded(Recording, each, f"{where}.recordings[{index}]") for index, each in enumerate(listed))


def _judgement(cell: Any, where: str) -> Judgement:
    listed = _list(_key(cell, "verdicts", where), f"{where}.verdicts")
    verdicts = [_verdict(each, f"{where}.verdicts[{index}]") for index, each in enumerate(listed)]
    return Judgement(
        cell=_decoded(Cell, _key(cell, "cell", where), f"{where}.cell"),
        verdicts=tuple(verdict for verdict in verdicts if verdict.metric not in RESOURCES),
        resources=tuple(verdict for verdict in verdicts if verdict.metric in RESOURCES),
    )


def _verdict(data: Any, where: str) -> Verdict:
    """What other layouts say beside a verdict's own fields is left aside, what they lack has its default."""
    if not isinstance(data, dict):
        raise BaselineError(f"{where}: expected an object")
    known = {f.name: f.default for f in fields(Verdict)}
    defaults = {name: default for name, default in known.items() if default is not MISSING}
    return _decoded(Verdict, {**defaults, **{name: data[name] for name in known if name in data}}, where)


def _session(data: Mapping[str, Any], path: Path) -> Document:
    schema = data.get("schema")
    if schema != runs.SCHEMA:
        raise BaselineError(f"{path}: schema: {schema!r}; this perfsuite reads sessions of layout {runs.SCHEMA}")
    session = _decoded(runs.Session, data, f"{path}: layout {schema}: session")
    return Document(kind=f"session of a run, layout {schema}", recordings=session.recordings)


def _key(data: Any, key: str, where: str) -> Any:
    if not isinstance(data, dict) or key not in data:
        raise BaselineError(f"{where}: lacks {key!r}")
    return data[key]


def _list(data: Any, where: str) -> Iterable[Any]:
    if not isinstance(data, list):
        raise BaselineError(f"{where}: expected a list")
    return data


def _decoded(kind: type[T], data: Any, where: str) -> T:
    try:
        return decode(kind, data, where=where)
    except (CodecError, PerfsuiteError) as error:
        raise BaselineError(str(error)) from error
