"""Owns writing a file so that it is there whole or not at all; it knows no perfsuite value and raises plain OSError."""

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Put `text` at `path` in one step, folders included; after an OSError whatever was there before is untouched."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def try_writing(directory: Path) -> None:
    """Create and remove a file in `directory`, or in the nearest folder above it that exists; OSError if it fails."""
    nearest = next((folder for folder in (directory, *directory.absolute().parents) if folder.exists()), Path())
    with tempfile.NamedTemporaryFile(dir=nearest, prefix=".perfsuite-", suffix=".tmp"):
        pass


def explain(error: OSError) -> str:
    """What the operating system said, without its number: 'No space left on device'."""
    return error.strerror or str(error)
