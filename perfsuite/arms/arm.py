"""Owns an arm ready to measure: whose code, in which environment, and how its workers are started."""

import os
import site
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

import perfsuite
from perfsuite.arms.environment import laid_over, own_environment
from perfsuite.arms.git import commit_named, is_dirty, top_of, worktree
from perfsuite.arms.reference import Kind, Reference
from perfsuite.arms.requirements import requirements_of
from perfsuite.core.errors import OptionError
from perfsuite.measure.recipe import Recipe

Say = Callable[[str], None]
CODE = (".py", ".so", ".pyd")
PROBE = "import numpy, scipy, pynvml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One of two versions. `moved` are folders of the run and what stands for them here; `notes` are to be said."""

    label: str
    recipe: Recipe = field(default_factory=Recipe)
    import_path: tuple[str, ...] = field(default_factory=lambda: tuple(sys.path))
    moved: Mapping[Path, Path] = field(default_factory=lambda: MappingProxyType({}))
    foreign: str | None = None
    notes: tuple[str, ...] = ()

    def reference(self, text: str) -> str:
        """'file.py:Class' as this arm finds it; the others stay as they are."""
        place, _, name = text.rpartition(":")
        return f"{_moved(Path(place), self.moved)}:{name}" if Path(place).is_absolute() else text


def working_tree(root: Path) -> Arm:
    """The code as it lies in `root`, in the running environment; that it is dirty is a note."""
    top = top_of(root)
    notes = ("the working tree has changes that are not committed: they are measured",) if top and is_dirty(top) else ()
    return Arm(label="the working tree", notes=notes)


@contextmanager
def prepared(
    reference: Reference, root: Path, *, where: str, say: Say, models: Iterable[str] = (), cache: Path | None = None
) -> Iterator[Arm]:
    """The arm that `reference` names, its checkout and what else is temporary gone afterwards.

    `models` are what cells run: those in folders that a checkout lacks are the run's own. OptionError, in one line, if
    a checkout or an environment cannot be made.
    """
    with ExitStack() as stack:
        home = stack.enter_context(_home())
        if reference.kind is Kind.REQUIREMENT:
            python = laid_over(reference.target, where=where, say=say, cache=cache)
            yield _elsewhere(reference.label, python, home, _same_version(reference))
        elif reference.kind is Kind.INTERPRETER:
            _check_interpreter(reference.target, where)
            yield _elsewhere(reference.label, Path(reference.target), home)
        else:
            top = (top_of(root) or root).resolve()
            folder = _code(stack, reference, top, where)
            _check_holds_code(reference, top, folder, where)
            _link_models(models, top, folder, is_temporary=reference.kind is Kind.REVISION)
            yield code_arm(reference.label, top, folder, home, where=where, say=say, cache=cache)


def _code(stack: ExitStack, reference: Reference, top: Path, where: str) -> Path:
    if reference.kind is Kind.FOLDER:
        return Path(reference.target)
    try:
        return stack.enter_context(worktree(top, reference.target))
    except OptionError as error:
        raise OptionError(f"{where}: {reference.text!r} cannot be checked out: {error}") from error


def _check_holds_code(reference: Reference, top: Path, folder: Path, where: str) -> None:
    """OptionError for a folder with nothing of what is imported from `top`: both arms would run the same code."""
    if reference.kind is not Kind.FOLDER:
        return
    moved = {top: folder}
    pairs = [(_modules(entry), _modules(_moved(entry, moved))) for entry in _code_entries(top)]
    names = sorted(name for here, _ in pairs for name in here)
    if names and not any(here & there for here, there in pairs):
        shown = ", ".join(names[:3])
        raise OptionError(
            f"{where}: {reference.text!r} holds none of the code that is imported from {top} ({shown}); name a folder "
            "that is laid out like it"
        )


def _modules(folder: Path) -> frozenset[str]:
    """The modules and packages that a folder holds."""
    files = list(folder.glob("*")) if folder.is_dir() else []
    modules = {path.stem for path in files if path.suffix in CODE}
    return frozenset(modules | {path.name for path in files if (path / "__init__.py").is_file()})


def code_arm(label: str, top: Path, folder: Path, home: str, *, where: str, say: Say, cache: Path | None = None) -> Arm:
    """The code in `folder` for that in `top`, in the running environment if both need the same, else in its own."""
    here, there = requirements_of(top), requirements_of(folder)
    notes = [f"{label} is the same code as the working tree: this is an A/A run"] if _is_same(top, folder) else []
    moved = {top: folder}
    if there is None or (here is not None and here.digest == there.digest):
        why = "names no requirements" if there is None else f"needs the same ({there.source})"
        notes.append(f"{label} {why}: both arms run in this environment")
        path = tuple(str(_moved(Path(entry or "."), moved)) for entry in sys.path)
        variables = {"PYTHONPATH": _moved_path(os.environ.get("PYTHONPATH"), moved)}
        python = sys.executable
    else:
        python = str(own_environment(there, folder, where=where, say=say, cache=cache))
        notes.append(f"{label} runs in an environment of its own ({there.source})")
        path, variables = tuple(str(_moved(entry, moved)) for entry in _code_entries(top)), _variables(python)
    recipe = Recipe(python=python, home=home, first=True, folder=str(_moved(Path.cwd(), moved)), variables=variables)
    foreign = None if folder.is_relative_to(top) else str(top)
    return Arm(label=label, recipe=recipe, import_path=path, moved=moved, foreign=foreign, notes=tuple(notes))


def _elsewhere(label: str, python: Path, home: str, notes: tuple[str, ...] = ()) -> Arm:
    """The working tree's code under another interpreter."""
    recipe = Recipe(python=str(python), home=home, first=True, variables=_variables(str(python)))
    return Arm(label=label, recipe=recipe, import_path=tuple(str(entry) for entry in _code_entries(None)), notes=notes)


def _variables(python: str) -> dict[str, str | None]:
    """An environment of its own has nothing of the run's path, and its own programs first."""
    return {"PYTHONPATH": None, "PATH": os.pathsep.join((str(Path(python).parent), os.environ.get("PATH", "")))}


def _code_entries(top: Path | None) -> list[Path]:
    """The entries of the run's path that hold code of the user's, not packages; those inside `top`, if it is given."""
    installed = [Path(prefix) for prefix in (sys.prefix, sys.base_prefix)]
    installed += [Path(path) for path in (*site.getsitepackages(), site.getusersitepackages())]
    entries = [Path(entry or ".").absolute() for entry in sys.path]
    return [
        entry
        for entry in entries
        if not any(entry.is_relative_to(place) for place in installed if place != top)
        and (top is None or entry.resolve().is_relative_to(top))
    ]


def _moved(path: Path, moved: Mapping[Path, Path]) -> Path:
    """Where a path of the run lies in this arm; environments inside the repository stay."""
    place = path.absolute()
    prefixes = (Path(sys.prefix), Path(sys.base_prefix))
    for old, new in moved.items():
        kept = any(prefix != old and prefix.is_relative_to(old) and place.is_relative_to(prefix) for prefix in prefixes)
        if place.resolve().is_relative_to(old) and not kept:
            return new / place.resolve().relative_to(old)
    return place


def _moved_path(text: str | None, moved: Mapping[Path, Path]) -> str | None:
    if text is None:
        return None
    return os.pathsep.join(str(_moved(Path(entry), moved)) for entry in text.split(os.pathsep) if entry)


@contextmanager
def _home() -> Iterator[str]:
    """A folder with the running perfsuite and nothing else, to be first on an arm's path."""
    with tempfile.TemporaryDirectory(prefix="perfsuite-home-") as folder:
        (Path(folder) / "perfsuite").symlink_to(Path(perfsuite.__file__).parent, target_is_directory=True)
        yield folder


def _is_same(top: Path, folder: Path) -> bool:
    if top == folder:
        return True
    here, there = commit_named(top, "HEAD"), commit_named(folder, "HEAD")
    return here is not None and here == there and not is_dirty(top) and not is_dirty(folder)


def _same_version(reference: Reference) -> tuple[str, ...]:
    name, _, version = reference.target.partition("==")
    try:
        found = metadata.version(name.strip())
    except (metadata.PackageNotFoundError, ValueError):
        return ()
    return (f"{reference.text} is what is installed here: this is an A/A run",) if found == version.strip() else ()


def _check_interpreter(python: str, where: str) -> None:
    try:
        done = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, check=False, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OptionError(f"{where}: {python!r} is no interpreter that runs ({error})") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise OptionError(f"{where}: {python!r} cannot measure ({lines[-1] if lines else 'no word'})")


def _link_models(models: Iterable[str], top: Path, folder: Path, *, is_temporary: bool) -> None:
    """Models in folders of the working tree that a checkout lacks: weights are seldom tracked."""
    for name in models if is_temporary else ():
        here = Path(name).absolute()
        if here.is_dir() and here.is_relative_to(top):
            there = folder / here.relative_to(top)
            if not there.exists():
                there.parent.mkdir(parents=True, exist_ok=True)
                there.symlink_to(here, target_is_directory=True)
