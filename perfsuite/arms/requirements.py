"""Owns what a checkout says that it needs: the first of its lock, its requirements and its pyproject that is there."""

import hashlib
import importlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from perfsuite.core.errors import OptionError

FILES = ("requirements.lock", "requirements.txt")
LEAST = ("numpy>=1.26", "nvidia-ml-py>=12.535", "scipy>=1.11")
"""What no session can do without, also where perfsuite is not installed and cannot be asked."""
INCLUDE = re.compile(r"\s*(-r|--requirement|-c|--constraint)[\s=]+(\S+)")
ITSELF = re.compile(r"\s*((-e|--editable)[\s=]+)?(\.|\./|file:\.)(\[[^\]]*\])?\s*(#.*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """Lines as pip reads them, without the project itself; `source` is the file they come from."""

    source: str
    lines: tuple[str, ...]
    constraints: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Equal for two checkouts that need the same."""
        said = [line.strip() for line in self.lines if line.strip() and not line.strip().startswith("#")]
        return hashlib.sha256("\n".join([*said, "constraints:", *self.constraints]).encode()).hexdigest()


def requirements_of(folder: Path) -> Requirements | None:
    """What the project in `folder` needs; `None` if it does not say. OptionError for a file that cannot be read."""
    if (folder / "uv.lock").is_file() and shutil.which("uv"):
        return _of_uv_lock(folder)
    for name in FILES:
        if (folder / name).is_file():
            lines, constraints = _flattened(folder / name)
            return Requirements(source=name, lines=tuple(lines), constraints=tuple(constraints))
    return _of_pyproject(folder / "pyproject.toml")


def own_needs() -> tuple[str, ...]:
    """What the running perfsuite needs in order to measure; pytest stays with the run."""
    try:
        told = metadata.requires("perfsuite") or []
    except metadata.PackageNotFoundError:
        told = []
    least = {_name(line) for line in LEAST}
    more = [line for line in told if "extra ==" not in line and _name(line) not in (*least, "pytest")]
    return tuple(sorted((*LEAST, *more)))


def _name(line: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower().replace("_", "-")


def _flattened(path: Path) -> tuple[list[str], list[str]]:
    """The lines of a file with those of the files that it names, and the constraints that it names."""
    lines: list[str] = []
    constraints: list[str] = []
    for line in _text(path).splitlines():
        include = INCLUDE.match(line)
        if include is None:
            lines += [] if ITSELF.fullmatch(line) else [line]
            continue
        inner, more = _flattened(path.parent / include[2])
        constraints += more
        (lines if include[1] in ("-r", "--requirement") else constraints).extend(inner)
    return lines, constraints


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: cannot be read ({error})") from error


def _of_uv_lock(folder: Path) -> Requirements:
    command = ["uv", "export", "--frozen", "--no-emit-project", "--no-dev", "--no-header", "--directory", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OptionError(f"{folder / 'uv.lock'}: uv cannot read it ({done.stderr.strip().splitlines()[-1:]})")
    return Requirements(source="uv.lock", lines=tuple(done.stdout.splitlines()))


def _of_pyproject(path: Path) -> Requirements | None:
    if not path.is_file():
        return None
    needs = _toml(path).get("project", {}).get("dependencies")
    return None if needs is None else Requirements(source=path.name, lines=tuple(sorted(map(str, needs))))


def _toml(path: Path) -> dict[str, Any]:
    """The file as data; before Python 3.11 by tomli, which pytest brings."""
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        found: dict[str, Any] = toml.loads(_text(path))
    except ValueError as error:
        raise OptionError(f"{path}: is no TOML ({error})") from error
    return found
