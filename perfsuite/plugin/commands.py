"""Owns the commands that a report offers: the user's own, changed as little as possible, ready to paste."""

import shlex
from collections.abc import Sequence

from perfsuite.core.matrix import Cell

HISTORY = "--perf-history"
"""No offered command has it: looking at one cell again is no part of a history, and a URL may hold a password."""
_SWITCHES = (
    "--perf",
    "--save-baseline",
    "--perf-save-baseline",
    "--perf-resume",
    "--perf-selftest",
    "--perf-bisect",
    "-q",
    "-v",
    "-x",
)
_REPORTS = ("--perf-json", "--perf-html", "--perf-openmetrics", "--junitxml", "--junit-xml")
_WITH_VALUE = ("-k", "--perf-shard", *_REPORTS)
_OF_ONE_RUN = ("--perf-inject-slowdown", "--perf-against", "--perf-confirm-against", "--perf-arms", "--perf-sessions")
"""What a baseline is saved without: how many sessions were enough to judge says nothing of how many it needs."""


def reproduce(argv: Sequence[str], cell: Cell) -> str:
    """Measure and judge this cell alone, with the options of this run."""
    return shlex.join(["pytest", "--perf", *_kept(argv, _WITH_VALUE), "-k", f"[{cell.id}"])


def save(argv: Sequence[str], cell: Cell) -> str:
    """Record this cell's baseline, without what was asked of this run alone."""
    kept = _kept(argv, (*_WITH_VALUE, *_OF_ONE_RUN))
    return shlex.join(["pytest", "--save-baseline", *kept, "-k", f"[{cell.id}"])


def save_all(argv: Sequence[str]) -> str:
    """Record the baselines of everything this run measured."""
    return shlex.join(["pytest", "--save-baseline", *_kept(argv, (*_REPORTS, *_OF_ONE_RUN))])


def resume(argv: Sequence[str]) -> str:
    """Go on with this run."""
    return shlex.join(["pytest", *(argument for argument in argv if argument != "--perf-resume"), "--perf-resume"])


def _kept(argv: Sequence[str], dropped: tuple[str, ...]) -> list[str]:
    """The arguments without switches that are set anew and without the dropped options and their values."""
    dropped = (*dropped, HISTORY)
    kept: list[str] = []
    skip_value = False
    for argument in argv:
        if skip_value:
            skip_value = False
        elif argument in dropped:
            skip_value = True
        elif argument not in _SWITCHES and not argument.startswith(tuple(f"{name}=" for name in dropped)):
            kept.append(argument)
    return kept
