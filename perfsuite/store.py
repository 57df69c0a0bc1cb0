"""Owns the baselines on disk, one cell a file: <directory>/<environment>/<model>/<strategy>/<workload>.json.

The folder of an environment is named after its device and what else of its machine must agree. A file carries the
number of its layout and a digest of the rest, so that a foreign or hand-edited one is refused rather than compared
with. Which baseline may judge which recording is not decided here.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfsuite.core import jsontext
from perfsuite.core.baseline import SCHEMA, Baseline
from perfsuite.core.codec import CodecError, decode, encode
from perfsuite.core.errors import BaselineError, PerfsuiteError
from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Environment
from perfsuite.disk import explain, try_writing, write_whole
from perfsuite.listing import KEYS, baseline_files, cell_id, foreign_files, is_hidden

WITHOUT_CANARIES, WITHOUT_ROOFLINES, WITHOUT_MONITOR, WITHOUT_REQUESTS = 1, 2, 3, 4
READABLE = (WITHOUT_CANARIES, WITHOUT_ROOFLINES, WITHOUT_MONITOR, WITHOUT_REQUESTS, SCHEMA)
RESTORE = "restore it with git checkout, or record it again with: pytest --save-baseline"


@dataclass(frozen=True, slots=True)
class BaselineStore:
    """The folder of baselines; every method that fails raises BaselineError with one line that names the file."""

    directory: Path

    def path(self, cell: Cell, environment: Environment) -> Path:
        return self._file(environment.key, cell)

    def load(self, cell: Cell, environment: Environment) -> Baseline | None:
        """The baseline of `cell` for this environment; else the one of its device that differs in the fewest keys.

        `None` if none was ever saved for the device.
        """
        return _load(self.path(cell, environment)) or self._nearest(cell, environment)

    def _nearest(self, cell: Cell, environment: Environment) -> Baseline | None:
        """The one of the device that differs in the fewest keys, the newest of several."""
        files = (self._file(folder, cell) for folder in self._folders_of(environment))
        found = [baseline for baseline in map(_load, files) if baseline is not None]
        newest_first = sorted(found, key=lambda baseline: baseline.saved_at, reverse=True)
        return min(newest_first, key=lambda each: len(each.environment.differences(environment)), default=None)

    def save(self, baseline: Baseline) -> Path:
        """Where the baseline now lies; when saving fails, the file that was there before is untouched.

        One that lay elsewhere and would judge the same recordings is replaced.
        """
        path = self.path(baseline.cell, baseline.environment)
        replaced = self._same_elsewhere(baseline)
        try:
            write_whole(path, jsontext.dumps(_document(baseline)))
        except OSError as error:
            raise BaselineError(
                f"{path}: the baseline cannot be saved ({explain(error)}); what was stored before is untouched"
            ) from error
        for old in replaced:
            old.unlink(missing_ok=True)
        return path

    def _same_elsewhere(self, baseline: Baseline) -> list[Path]:
        """Files of the cell in other folders of the device whose environment does not differ, and knows no more."""
        here, own = self.path(baseline.cell, baseline.environment), baseline.environment
        found = []
        for folder in self._folders_of(own):
            path = self._file(folder, baseline.cell)
            try:
                other = None if path == here else _load(path)
            except BaselineError:  # nobody knows what it is of
                continue
            if other is None or other.environment.differences(own):
                continue
            if set(other.environment.must_agree) <= set(own.must_agree):
                found.append(path)
        return found

    def any_of(self, cell: Cell, is_wanted: Callable[[str], bool]) -> Baseline | None:
        """The newest baseline of `cell` whose device's name is wanted; `None` if none of them can be read."""
        found: list[Baseline] = []
        for folder in self._subfolders():
            with suppress(BaselineError):  # whoever judges by it says so
                each = _load(self._file(folder.name, cell))
                found += [each] if each is not None and is_wanted(each.environment.device) else []
        return max(found, key=lambda each: each.saved_at, default=None)

    def devices_with(self, cell: Cell) -> tuple[str, ...]:
        """Names of the devices that have a baseline of `cell`; of a broken file the folder's name."""
        folders = (path.name for path in self._subfolders() if self._file(path.name, cell).is_file())
        return tuple(dict.fromkeys(_device_name(self._file(folder, cell), folder) for folder in folders))

    def cells_for(self, environment: Environment) -> tuple[str, ...]:
        """Ids of the cells stored for the device of an environment, sorted."""
        return tuple(sorted({cell for folder in self._folders_of(environment) for cell in self.cells(folder)}))

    def cells(self, folder: str) -> tuple[str, ...]:
        """Ids of the cells stored in a folder, sorted: 'eager/tiny/p100-o32'."""
        return tuple(sorted(map(cell_id, self.files(folder))))

    def devices(self) -> tuple[str, ...]:
        """Names of the folders that hold baselines, sorted: 'nvidia-h100-80gb-hbm3'."""
        return tuple(path.name for path in self._subfolders() if self.cells(path.name))

    def load_all(self, device: str) -> tuple[Baseline, ...]:
        """Every baseline stored in a folder, in the order of their ids, p50 before p100."""
        found = (_load(path) for path in self.files(device))
        return tuple(baseline for baseline in found if baseline is not None)

    def files(self, device: str, cell_ids: Collection[str] | None = None) -> tuple[Path, ...]:
        """The files of a device (a folder's name), of all cells or of these, in the order of their ids."""
        found = baseline_files(self.directory / device)
        return tuple(path for path in found if cell_ids is None or cell_id(path) in cell_ids)

    def foreign(self, device: str | None = None) -> tuple[Path, ...]:
        """Files that lie where baselines would, in all folders or in one, and plainly are none."""
        folders = self._subfolders() if device is None else [self.directory / device]
        return tuple(path for folder in folders for path in foreign_files(folder))

    def check_writable(self, cells: Iterable[Cell] = ()) -> None:
        """BaselineError, before anything is measured, if the baselines of these cells could not be saved here."""
        places = {
            path.parent for folder in self._subfolders() for cell in cells for path in [self._file(folder.name, cell)]
        }
        for place in sorted({self.directory, *(place for place in places if place.exists())}):
            try:
                try_writing(place)
            except OSError as error:
                raise BaselineError(
                    f"{place}: no baseline can be saved here ({explain(error)}); "
                    "make it a folder that you may write to, or name another with --perf-baseline-dir"
                ) from error

    def _folders_of(self, environment: Environment) -> list[str]:
        """Folders of the device of an environment; the ones of earlier versions have the device's name alone."""
        return [each.name for each in self._subfolders() if each.name.split("_")[0] == environment.slug]

    def _subfolders(self) -> list[Path]:
        return sorted(path for path in self.directory.glob("*") if path.is_dir() and not is_hidden(path.name))

    def _file(self, device: str, cell: Cell) -> Path:
        return self.directory / device / cell.model.slug / cell.strategy_slug / f"{cell.workload.slug}.json"


def load_baseline(path: Path) -> Baseline:
    """The baseline in one file; BaselineError with one line that names the file if there is none or it is broken."""
    found = _load(path)
    if found is None:
        raise BaselineError(f"{path}: there is no such baseline")
    return found


def _document(baseline: Baseline) -> dict[str, Any]:
    body = {"schema": SCHEMA, "baseline": encode(baseline)}
    return {**body, "digest": _digest(body)}


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(jsontext.canonical(body).encode()).hexdigest()


def _load(path: Path) -> Baseline | None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        found = explain(error) if isinstance(error, OSError) else "not UTF-8 text"
        raise BaselineError(f"{path}: the baseline cannot be read ({found}); {RESTORE}") from error
    return _baseline(_parse(text, path), path)


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        data = jsontext.loads(text)
    except json.JSONDecodeError as error:
        finding = "the file ends too early" if _is_truncated(error) else f"not JSON: {error.msg}"
        place = f"line {error.lineno}, column {error.colno}"
        raise BaselineError(f"{path}: {finding} ({place}); {RESTORE}") from error
    except ValueError as error:
        raise BaselineError(f"{path}: no JSON that can be read: {error}; {RESTORE}") from error
    if not isinstance(data, dict) or "schema" not in data:
        raise BaselineError(f"{path}: not a perfsuite baseline, it has no 'schema'; {RESTORE}")
    return data


def _is_truncated(error: json.JSONDecodeError) -> bool:
    return error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")


def _baseline(data: dict[str, Any], path: Path) -> Baseline:
    if data["schema"] not in READABLE:
        *older, today = map(str, READABLE)
        raise BaselineError(
            f"{path}: schema {data['schema']!r}; this perfsuite reads {', '.join(older)} and {today}; "
            "upgrade perfsuite, or record again with: pytest --save-baseline"
        )
    if set(data) != KEYS:
        raise BaselineError(f"{path}: it must hold 'schema', 'digest' and 'baseline' and nothing else; {RESTORE}")
    try:
        body = _in_todays_layout(data["baseline"], data["schema"])
        baseline = decode(Baseline, body, where="baseline")
    except (CodecError, PerfsuiteError) as error:
        raise BaselineError(f"{path}: {error}; {RESTORE}; it has layout {data['schema']}") from error
    if data["digest"] != _digest({"schema": data["schema"], "baseline": data["baseline"]}):
        raise BaselineError(f"{path}: was edited by hand or damaged (its digest differs); {RESTORE}")
    return baseline


def _in_todays_layout(body: Any, schema: int) -> Any:
    """A stored body with what its layout lacks: no canary was read, so every sample counts raw; no floor was known.

    What later layouts added has a default of its own.
    """
    if schema not in (WITHOUT_CANARIES, WITHOUT_ROOFLINES) or not isinstance(body, dict):
        return body  # decoding says what is wrong with it
    before_canaries: dict[str, Any] = {"canaries": []} if schema == WITHOUT_CANARIES else {}
    whole = {"modes": {}, "later": [], **body} if schema == WITHOUT_CANARIES else body
    lists = {name: whole[name] for name in ("recordings", "later") if isinstance(whole.get(name), list)}
    filled = {
        name: [{"roofline": None, **before_canaries, **r} if isinstance(r, dict) else r for r in recordings]
        for name, recordings in lists.items()
    }
    return {**whole, **filled}


def _device_name(path: Path, folder: str) -> str:
    try:
        baseline = _load(path)
    except BaselineError:  # it is only named here; whoever compares with it gets the error
        return folder
    return baseline.environment.device if baseline else folder
