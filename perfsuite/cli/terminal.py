"""Owns what the commands write: lines in colour on a terminal, plain elsewhere, complaints on standard error."""

import io
import os
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


def be_forgiving() -> None:
    """From now on a character that a terminal or a pipe cannot show is escaped, and closed outputs take anything."""
    sys.stdout, sys.stderr = (stream or _nowhere() for stream in (sys.stdout, sys.stderr))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def go_silent() -> None:
    """Whatever is still to be written goes nowhere: nobody reads it, and Python would complain of that at its end."""
    with _nowhere() as nowhere:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere.fileno(), stream.fileno())


def _nowhere() -> io.TextIOWrapper:
    return open(os.devnull, "w", encoding="utf-8")


def complain(text: str, command: str = "") -> None:
    """One line on standard error, with the command's name before it; where nobody can read it, nothing."""
    try:
        sys.stderr.write(f"perfsuite{f' {command}' if command else ''}: {text}\n")
    except OSError:
        go_silent()
