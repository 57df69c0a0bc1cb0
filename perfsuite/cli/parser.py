"""Owns what the commands' arguments share: one line for what is wrong with them, and the exit codes."""

import argparse
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]

REGRESSED, UNUSABLE, BROKEN, INTERRUPTED, UNREAD = 1, 2, 3, 130, 141
"""The last two are what a shell says of a process that ctrl-C, or a closed pipe, has ended."""
UNDECIDED = BROKEN
"""A file that cannot be believed decides as little as samples that are too few."""


class Parser(argparse.ArgumentParser):
    """argparse with its complaints in one line."""

    def error(self, message: str) -> NoReturn:
        """One line, without the usage."""
        self.exit(UNUSABLE, f"{self.prog}: {message}\n")


def count(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)
