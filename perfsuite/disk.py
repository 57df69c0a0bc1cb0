"""Owns writing a file so that it is there whole or not at all, and where the user's caches are.

It knows no perfsuite value and raises plain OSError.
"""

import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

ESCAPED = "backslashreplace"
"""What becomes of text that no file can hold, such as a half of a surrogate pair: '\\udc80'."""


def write_whole(path: Path, content: str | bytes) -> None:
    """Put `content` at `path` in one step, folders included; after an OSError whatever was there is untouched.

    A symbolic link stays one: what it points to is written. Text is written as UTF-8, half a character pair in it
    escaped.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode(errors=ESCAPED) if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def cache_folder(name: str, variables: Mapping[str, str] = os.environ) -> Path:
    """Where perfsuite keeps what it can make again: perfsuite/<name> in the user's folder for caches.

    RuntimeError if the user has no home.
    """
    cache = variables.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "perfsuite" / name


def user_path(text: str) -> Path:
    """A path as people write it, with ~ for a home; OSError if there is no such home, or no path can be so long."""
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise OSError(errno.ENOENT, "there is no such home", text) from error
    try:
        path.stat()
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error), text) from error
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise
    return path


def try_writing(directory: Path) -> None:
    """Create and remove a file in `directory`, or in the nearest folder above it that exists; OSError if it fails."""
    nearest = next((folder for folder in (directory, *directory.absolute().parents) if folder.exists()), Path())
    with tempfile.NamedTemporaryFile(dir=nearest, prefix=".perfsuite-", suffix=".tmp"):
        pass


def explain(error: OSError) -> str:
    """What the operating system said, without its number: 'No space left on device'."""
    return error.strerror or str(error)
