"""Owns putting a report where an option says, and finding out before measuring that it could not be put there."""

import os
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from perfsuite.core.errors import OptionError
from perfsuite.disk import ESCAPED, explain, try_writing, write_whole

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
"""GitHub Actions names a file in it whose Markdown it shows with the job."""


def summary_path() -> Path | None:
    """The file for a CI job's summary; `None` where there is none."""
    text = os.environ.get(SUMMARY_VARIABLE)
    return Path(text) if text else None


def write(path: Path, text: str, option: str) -> None:
    """Put the report at `path` in one step; OptionError if the disk refuses."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise OptionError(f"{option}: {path} cannot be written ({explain(error)})") from error


def append(path: Path, text: str, option: str) -> None:
    """Add to a file that others write to as well; OptionError if the disk refuses."""
    try:
        with path.open("a", encoding="utf-8", errors=ESCAPED, newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise OptionError(f"{option}: {path} cannot be written ({explain(error)})") from error


def check_distinct(named: Mapping[str, Path]) -> None:
    """OptionError if two of these options name one file, however it is written: one report would replace the other."""
    for (option, path), (other, again) in combinations(named.items(), 2):
        if os.path.realpath(path) == os.path.realpath(again):
            raise OptionError(f"{option} and {other}: two reports in one file; name a file for each")


def check_writable(path: Path, option: str, *, is_appended: bool = False) -> None:
    """OptionError, before anything is measured, if no report could be written at `path`, or added to what is there."""
    if path.is_dir():
        raise OptionError(f"{option}: {path} is a folder; name a file")
    if path.exists() and not path.is_file() and not is_appended:
        raise OptionError(f"{option}: {path} is a device or a pipe, which would be replaced; name a file")
    try:
        try_writing(path.parent)
    except OSError as error:
        raise OptionError(
            f"{option}: {path} cannot be written ({explain(error)}); name a file in a folder you may write to"
        ) from error
