"""Owns the environments of arms: built once for what they hold, kept in the user's folder for caches."""

import hashlib
import os
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from perfsuite.arms.git import is_alive
from perfsuite.arms.requirements import Requirements, own_needs
from perfsuite.core.errors import OptionError
from perfsuite.core.secret import masked
from perfsuite.disk import cache_folder, explain, try_writing

CACHE = "environments"
KEPT = 4
"""How many environments stay; one with torch takes gigabytes."""
PARENT = "import site; list(map(site.addsitedir, {paths!r}))\n"
"""A line of a .pth file: what the running environment has is there as well, behind what is laid over it."""
Say = Callable[[str], None]


def own_environment(needs: Requirements, folder: Path, *, where: str, say: Say, cache: Path | None = None) -> Path:
    """The interpreter of an environment with what the checkout in `folder` needs and what perfsuite measures with.

    OptionError, in one line, if it does not build.
    """
    key = _digest("own", needs.digest, *own_needs())
    with _building(key, cache or cache_folder(CACHE), where, say) as place:
        if place.is_new:
            _create(place, with_pip=shutil.which("uv") is None)
            (place.folder / "requirements.txt").write_text("\n".join(needs.lines) + "\n", encoding="utf-8")
            (place.folder / "constraints.txt").write_text("\n".join(needs.constraints) + "\n", encoding="utf-8")
            files = ("-r", str(place.folder / "requirements.txt"), "-c", str(place.folder / "constraints.txt"))
            _install(place, files, folder)
            (place.folder / "installed.txt").write_text(_installed(place), encoding="utf-8")
            _install(place, (*own_needs(), "-c", str(place.folder / "installed.txt")), folder)
    return place.python


def laid_over(requirement: str, *, where: str, say: Say, cache: Path | None = None) -> Path:
    """The interpreter of an environment that has `requirement` laid over everything the running one has.

    OptionError, in one line, if it does not build.
    """
    path = Path(requirement)
    content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    key = _digest("over", sys.prefix, requirement, content)
    with _building(key, cache or cache_folder(CACHE), where, say) as place:
        if place.is_new:
            _create(place, with_pip=True)
            line = PARENT.format(paths=site.getsitepackages())
            (place.packages / "perfsuite-parent.pth").write_text(line, encoding="utf-8")
            _install(place, (requirement,), Path.cwd(), pip=True)
    return place.python


class _Place:
    """An environment's folder: while it is built a part of its own, then the one under its key."""

    def __init__(self, folder: Path, where: str, *, is_new: bool) -> None:
        self.folder, self.where, self.is_new = folder, where, is_new

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

    @property
    def packages(self) -> Path:
        scheme = "nt" if sys.platform == "win32" else "posix_prefix"
        names = {"base": str(self.folder), "platbase": str(self.folder)}
        return Path(sysconfig.get_path("purelib", scheme=scheme, vars=names))


@contextmanager
def _building(key: str, cache: Path, where: str, say: Say) -> Iterator[_Place]:
    """The place of an environment; one that was built is whole, or is not there."""
    folder = cache / key[:32]
    if folder.is_dir():
        os.utime(folder)
        yield _Place(folder, where, is_new=False)
        return
    _make_writable(cache, where)
    say(f"{where}: building an environment in {folder}")
    part = folder.with_suffix(f".{os.getpid()}")
    place = _Place(part, where, is_new=True)
    try:
        yield place
        with suppress(OSError):  # another run was faster, and its environment holds the same
            os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    place.folder = folder
    _prune(cache)


def _make_writable(cache: Path, where: str) -> None:
    try:
        try_writing(cache)
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{where}: {cache} cannot be written ({explain(error)}); set XDG_CACHE_HOME") from error


def _prune(cache: Path) -> None:
    """Keep those used last, and no part that a run which was killed has left."""
    for part in cache.glob("*.*"):
        owner = part.suffix.removeprefix(".")
        if owner.isdecimal() and not is_alive(int(owner)):
            shutil.rmtree(part, ignore_errors=True)
    folders = sorted((path for path in cache.iterdir() if path.is_dir() and not path.suffix), key=_last_used)
    for folder in folders[:-KEPT]:
        shutil.rmtree(folder, ignore_errors=True)


def _last_used(folder: Path) -> float:
    return folder.stat().st_mtime


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join([sys.version, sys.platform, *parts]).encode()).hexdigest()


def _create(place: _Place, *, with_pip: bool) -> None:
    uv = shutil.which("uv")
    if uv is not None and not with_pip:
        _run(place, [uv, "venv", "--quiet", "--python", sys.executable, str(place.folder)], Path.cwd())
    else:
        _run(place, [sys.executable, "-m", "venv", str(place.folder)], Path.cwd())


def _install(place: _Place, arguments: Sequence[str], folder: Path, *, pip: bool = False) -> None:
    """By uv where it is there, else by the environment's own pip; paths are seen from `folder`."""
    _run(place, [*_pip(place, "install", pip=pip), *arguments], folder)


def _installed(place: _Place) -> str:
    """What is there, pinned, so that nothing of it moves for what perfsuite needs."""
    return _run(place, _pip(place, "freeze"), Path.cwd())


def _pip(place: _Place, verb: str, *, pip: bool = False) -> list[str]:
    uv = None if pip else shutil.which("uv")
    if uv is not None:
        return [uv, "pip", verb, "--quiet", "--python", str(place.python)]
    return [str(place.python), "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input", verb]


def _run(place: _Place, command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        words = next(
            (line for line in lines if line.startswith(("ERROR: ", "error: "))), lines[-1] if lines else "no word"
        )
        raise OptionError(f"{place.where}: its environment does not build: {masked(words)}")
    return done.stdout
