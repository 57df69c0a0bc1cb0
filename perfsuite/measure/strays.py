"""Owns the check that a session has loaded its own arm's code, and not the other's."""

import sys
from pathlib import Path
from types import ModuleType

from perfsuite.core.errors import OptionError


def refuse_foreign(folder: str | None) -> None:
    """OptionError if a module was loaded from `folder`; perfsuite itself and installed packages may lie there."""
    found = stray(Path(folder), sys.modules.copy()) if folder else None
    if found is not None:
        name, path = found
        raise OptionError(
            f"module {name!r} was loaded from {path}, which is the other arm's code, so that both arms would be the "
            "same; is it installed as an editable package? run pytest from the repository with PYTHONPATH set instead"
        )


def stray(folder: Path, modules: dict[str, ModuleType]) -> tuple[str, Path] | None:
    """The first module, with its file, that lies in `folder` but not in this interpreter's own folders."""
    own = [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)]
    place = folder.resolve()
    for name, module in modules.items():
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or name.partition(".")[0] == "perfsuite":
            continue
        path = Path(file).resolve()
        if path.is_relative_to(place) and not any(_within(path, prefix, place) for prefix in own):
            return name, path
    return None


def _within(path: Path, prefix: Path, place: Path) -> bool:
    """Whether an interpreter's folder inside `place` holds the file: a .venv in a repository is none of its code."""
    return prefix != place and prefix.is_relative_to(place) and path.is_relative_to(prefix)
