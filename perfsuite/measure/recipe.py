"""Owns how a worker process is started: which interpreter, in which folder, with which perfsuite on its path."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import perfsuite

FIRST = "sys.path[0] = {home!r}"
LAST = "sys.path.pop(0); sys.path.append({home!r})"
BOOT = "import sys; {path}; from perfsuite.measure.worker import main; main()"
"""Starts the worker without the current folder on its path: a user's `queue.py` must not stand in for the library's."""
PINNED = "import os; os.sched_setaffinity(0, {cores!r}); "
"""Before anything is imported: libraries count the cores that they may use, and every child inherits them."""


def own_home() -> str:
    """The folder that the running perfsuite is imported from."""
    return str(Path(perfsuite.__file__).parent.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to start a worker; by default as this process was.

    `home` is the folder that perfsuite is imported from. In an environment of its own it comes `first`, so that a
    perfsuite that is installed there does not measure. `folder` is the current folder (`None`: ours), `variables` are
    laid over our environment variables; `None` takes one out. `cores` are those it may run on, none: all.
    """

    python: str = sys.executable
    home: str = field(default_factory=own_home)
    first: bool = False
    folder: str | None = None
    variables: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    cores: tuple[int, ...] = ()

    @property
    def command(self) -> list[str]:
        pinned = PINNED.format(cores=self.cores) if self.cores else ""
        return [self.python, "-c", pinned + BOOT.format(path=(FIRST if self.first else LAST).format(home=self.home))]

    def environment(self, **added: str) -> dict[str, str]:
        """All environment variables of the worker."""
        merged: dict[str, str | None] = {**os.environ, **self.variables, **added}
        return {name: value for name, value in merged.items() if value is not None}


OWN = Recipe()
"""A worker like the run itself."""
