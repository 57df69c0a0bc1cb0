"""Owns putting a report where an option says, and finding out before measuring that it could not be put there."""

from pathlib import Path

from perfsuite.core.errors import OptionError
from perfsuite.disk import explain, try_writing, write_whole


def write(path: Path, text: str, option: str) -> None:
    """Put the report at `path` in one step; OptionError if the disk refuses."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise OptionError(f"{option}: {path} cannot be written ({explain(error)})") from error


def append(path: Path, text: str, option: str) -> None:
    """Add to a file that others write to as well; OptionError if the disk refuses."""
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise OptionError(f"{option}: {path} cannot be written ({explain(error)})") from error


def check_writable(path: Path, option: str) -> None:
    """OptionError, before anything is measured, if no report could be written at `path`."""
    if path.is_dir():
        raise OptionError(f"{option}: {path} is a folder; name a file")
    try:
        try_writing(path.parent)
    except OSError as error:
        raise OptionError(
            f"{option}: {path} cannot be written ({explain(error)}); name a file in a folder you may write to"
        ) from error
