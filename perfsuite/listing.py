"""Owns which files of a folder are baselines, by their places and their first words, and the order they are read in.

What they hold is not known here.
"""

import re
from pathlib import Path

from perfsuite.core import jsontext

KEYS = frozenset({"schema", "digest", "baseline"})
BEGINNING = 1000
"""So many characters of a file show its first key."""


def baseline_files(folder: Path) -> tuple[Path, ...]:
    """The baselines in the folder of one device, in the order of their cells, p50 before p100."""
    return tuple(sorted((path for path in _at_place(folder) if not _is_foreign(path)), key=_reading_order))


def foreign_files(folder: Path) -> tuple[Path, ...]:
    """Files in it that lie where baselines would and plainly are none, sorted."""
    return tuple(sorted(path for path in _at_place(folder) if _is_foreign(path)))


def cell_id(path: Path) -> str:
    """The id of a baseline's cell by its place: 'eager/tiny/p100-o32'."""
    model, strategy = path.parts[-3:-1]
    return f"{strategy}/{model}/{path.name.removesuffix('.json')}"


def is_hidden(name: str) -> bool:
    """Whether it is a name as '.git' and '.venv', in which other tools keep what is theirs."""
    return name.startswith(".")


def _at_place(folder: Path) -> list[Path]:
    """No cell's model, strategy or workload has a hidden name."""
    found = folder.glob("*/*/*.json")
    return [path for path in found if not any(map(is_hidden, path.relative_to(folder).parts))]


def _is_foreign(path: Path) -> bool:
    """Whether it begins as JSON of something else does; what is damaged is ours, so that it is not passed over."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            key = jsontext.first_key(file.read(BEGINNING))
    except OSError:  # whoever reads it says so
        return False
    return key is not None and key not in KEYS


def _reading_order(path: Path) -> list[tuple[int, str]]:
    """Numbers in a path by their size."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
