"""Owns annotations for GitHub Actions: workflow commands that put a failed gate beside the line of its test."""

from collections.abc import Mapping
from dataclasses import dataclass

from perfsuite.core.matrix import Cell
from perfsuite.core.verdict import Verdict
from perfsuite.report.run import Run, excess
from perfsuite.report.verdicts import verdict_line

MOST = 10
"""GitHub shows so many annotations of one kind a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a test stands: a path from the root of the repository, and a line counted from 1."""

    path: str
    line: int


def annotations(run: Run, places: Mapping[Cell, Place]) -> tuple[str, ...]:
    """A '::error file=…,line=…::' line per failing cell, worst first; the last one of too many says how many follow."""
    failing = [(cell, own) for cell in run.cells if (own := [v for v in run.verdicts(cell) if v.outcome.fails])]
    failing.sort(key=lambda found: -max(map(excess, found[1])))
    commands = [_command(cell, own, places.get(cell), run) for cell, own in failing]
    if len(commands) <= MOST:
        return tuple(commands)
    left = len(commands) - MOST + 1
    return (*commands[: MOST - 1], f"::error title=perfsuite::{left} more cells failed, see the summary")


def _command(cell: Cell, verdicts: list[Verdict], place: Place | None, run: Run) -> str:
    lines = [verdict_line(cell, verdict) for verdict in verdicts]
    lines += [f"reproduce: {command}"] if (command := run.reproduce(cell)) else []
    where = {"file": place.path, "line": str(place.line)} if place else {}
    told = {**where, "title": f"perfsuite: {cell.id} {verdicts[0].outcome.value}"}
    properties = ",".join(f"{name}={_property(text)}" for name, text in told.items())
    message = "\n".join(lines)
    return f"::error {properties}::{_data(message)}"


def _data(text: str) -> str:
    """A message as actions/toolkit escapes it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A property's value, which ends at ':' and ','."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
