"""Owns runs in progress on disk, so that what a session measured outlives a crash: <root>/.perfsuite/runs/<run>/.

A run's folder holds `run.json` (what was asked for), one `session-<number>.json` per session that ended, one
`pair-<number>.json` per twin session, and `finished` once the run did. It judges nothing and prints nothing.
"""

import os
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from perfsuite.core import jsontext
from perfsuite.core.codec import decode, encode
from perfsuite.core.entry import RunEntry
from perfsuite.core.errors import BaselineError, OptionError, PerfsuiteError
from perfsuite.core.recording import Recording
from perfsuite.disk import explain, write_whole
from perfsuite.measure.clock import utc_now

SCHEMA = 3
KEPT = 10
"""How many finished runs stay, and how many unfinished ones; older ones are removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run was started for; a run is only resumed by one with the same `digest`."""

    digest: str
    argv: tuple[str, ...]
    cells: tuple[str, ...]
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        _check_schema(self.schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The file of one session: every recording that it handed back."""

    recordings: tuple[Recording, ...]
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        _check_schema(self.schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The file of a twin session: what each arm handed back. `arms` names them; the same twice in an A/A session."""

    arms: tuple[str, str]
    old: tuple[Recording, ...]
    new: tuple[Recording, ...]
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        _check_schema(self.schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a run has on disk: the recordings in the order added, and one note per file that cannot be used."""

    recordings: tuple[Recording, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One run's folder. One process adds to a run; BaselineError if the disk refuses."""

    folder: Path
    plan: Plan

    def add(self, recordings: tuple[Recording, ...]) -> Path:
        """The file in which the recordings of one more session now lie."""
        number = max((_number(path) for path in self._session_files()), default=0) + 1
        path = self.folder / f"session-{number}.json"
        _write(path, jsontext.dumps(encode(Session(recordings=recordings))))
        return path

    def add_pair(self, pair: Pair) -> Path:
        """The file in which one more twin session now lies."""
        number = 1 + sum(1 for _ in self.folder.glob("pair-*.json"))
        path = self.folder / f"pair-{number}.json"
        _write(path, jsontext.dumps(encode(pair)))
        return path

    def keep_output(self, text: str) -> Path:
        """The file in which the last output of a session that broke now lies."""
        number = max((_number(path) for path in self._session_files()), default=0) + 1
        path = self.folder / f"output-{number}.log"
        _write(path, text)
        return path

    def progress(self) -> Progress:
        """Everything that was added, as far as it can be read."""
        loaded = [_load_session(path) for path in self._session_files()]
        return Progress(
            recordings=tuple(r for session in loaded if isinstance(session, Session) for r in session.recordings),
            notes=tuple(note for note in loaded if isinstance(note, str)),
        )

    def recordings(self) -> tuple[Recording, ...]:
        return self.progress().recordings

    def finish(self) -> None:
        """Mark the run as complete and remove the oldest ones."""
        _write(self.folder / "finished", "")
        _prune(self.folder.parent)

    @property
    def is_finished(self) -> bool:
        return _is_finished(self.folder)

    def _session_files(self) -> list[Path]:
        files = (path for path in self.folder.glob("session-*.json") if _number(path))
        return sorted(files, key=_number)


def start(root: Path, digest: str, argv: tuple[str, ...], cells: tuple[str, ...] = ()) -> Run:
    """A new run below `root`, its plan already on disk."""
    parent = _parent(root)
    _write(parent.parent / ".gitignore", "*\n")
    run = Run(_new_folder(parent), Plan(digest=digest, argv=argv, cells=cells))
    _write(run.folder / "run.json", jsontext.dumps(encode(run.plan)))
    return run


def latest_unfinished(root: Path, digest: str) -> Run | None:
    """The newest run of the same plan that was cut off, `None` if there is none."""
    for folder in reversed(_folders(_parent(root))):
        plan = _load_plan(folder)
        if plan is not None and plan.digest == digest and not _is_finished(folder):
            return Run(folder, plan)
    return None


def keep_entry(root: Path, entry: RunEntry) -> Path:
    """The file in which what a history was to hold of a run now lies, until it is imported.

    BaselineError if the disk refuses, or for a number that JSON does not have.
    """
    path = _parent(root).parent / "history" / f"{entry.id}.json"
    _write(path.parent.parent / ".gitignore", "*\n")
    try:
        text = jsontext.dumps(encode(entry))
    except ValueError as error:
        raise BaselineError(f"{path}: the run cannot be written: {error}") from error
    _write(path, text)
    return path


def load_entry(path: Path) -> RunEntry:
    """What `keep_entry` kept; OptionError if there is no such file, BaselineError with the key and the layout if it is
    something else.
    """
    try:
        return decode(RunEntry, jsontext.loads(path.read_text(encoding="utf-8")), where="run")
    except OSError as error:
        raise OptionError(
            f"{path}: cannot be read ({explain(error)}); name what the run kept for its history"
        ) from error
    except ValueError as error:
        raise BaselineError(f"{path}: not what a run kept for its history: {error}") from error


def _check_schema(found: int) -> None:
    if found != SCHEMA:
        raise ValueError(f"schema {found}; this perfsuite reads {SCHEMA}")


def _parent(root: Path) -> Path:
    return root / ".perfsuite" / "runs"


def _new_folder(parent: Path) -> Path:
    """A folder named after now and this process, numbered should one process start two runs within a second."""
    name = f"{utc_now().replace('-', '').replace(':', '')}-{os.getpid()}"
    for number in count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise _refused(folder, error) from error
        return folder
    raise AssertionError("count() does not end")


def _folders(parent: Path) -> list[Path]:
    """The runs' folders, oldest first."""
    return sorted(path for path in parent.glob("*") if path.is_dir())


def _is_finished(folder: Path) -> bool:
    return (folder / "finished").exists()


def _number(path: Path) -> int:
    digits = path.name.removeprefix("session-").removesuffix(".json")
    return int(digits) if digits.isdecimal() else 0


def _load_plan(folder: Path) -> Plan | None:
    try:
        return decode(Plan, jsontext.loads((folder / "run.json").read_text(encoding="utf-8")), where="run")
    except (OSError, ValueError):  # without its plan a folder is no run: nothing can be resumed from it
        return None


def _load_session(path: Path) -> Session | str:
    try:
        return decode(Session, jsontext.loads(path.read_text(encoding="utf-8")), where="session")
    except OSError as error:
        return f"{path}: this session is left out and measured again ({explain(error)})"
    except (ValueError, PerfsuiteError) as error:
        return f"{path}: this session is left out and measured again ({error})"


def _prune(parent: Path) -> None:
    folders = _folders(parent)
    for done in (True, False):
        same = [folder for folder in folders if _is_finished(folder) is done]
        for folder in same[:-KEPT]:
            shutil.rmtree(folder, ignore_errors=True)  # what stays costs disk only; the next run tries again


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text)
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> BaselineError:
    return BaselineError(f"{path}: the run cannot be written ({explain(error)}); make room or fix the folder's rights")
