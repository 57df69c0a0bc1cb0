"""Owns what the commands write: lines in colour on a terminal, plain elsewhere, complaints on standard error."""

import sys
from collections.abc import Iterable

from perfsuite.report.layout import Line

RESET = "\x1b[0m"
COLOURS = {"plain": "", "bold": "\x1b[1m", "red": "\x1b[31m", "green": "\x1b[32m", "yellow": "\x1b[33m"}


def write(lines: Iterable[Line]) -> None:
    """The lines on standard output."""
    coloured = sys.stdout.isatty()
    for line in lines:
        colour = COLOURS[line.style] if coloured else ""
        sys.stdout.write(f"{colour}{line.text}{RESET if colour else ''}\n")


def complain(text: str, command: str) -> None:
    """One line on standard error, with the command's name before it."""
    sys.stderr.write(f"perfsuite {command}: {text}\n")
