"""Owns the folder of a run: a new one, or that of the interrupted run of the same plan with all that it holds."""

import hashlib
import json
from collections.abc import Iterable

from perfsuite import runs
from perfsuite.core.codec import encode
from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Recording
from perfsuite.core.validity import problems
from perfsuite.measure.environment import code_state, installed_versions
from perfsuite.plugin.settings import Settings

NOTHING = "--perf-resume: there is no interrupted run of these cells and options; starting anew"


def open_run(
    settings: Settings, argv: tuple[str, ...], cells: Iterable[Cell]
) -> tuple[runs.Run, tuple[Recording, ...], tuple[str, ...]]:
    """The run, the recordings of an earlier one that count, and what is to be said of that."""
    wanted = tuple(cells)
    digest = _digest(settings, wanted)
    earlier = runs.latest_unfinished(settings.root, digest) if settings.resume else None
    if earlier is None:
        new = runs.start(settings.root, digest, argv, tuple(cell.id for cell in wanted))
        return new, (), (NOTHING,) if settings.resume else ()
    progress = earlier.progress()
    usable = tuple(r for r in progress.recordings if r.cell in wanted and not problems(r))
    went_on = f"--perf-resume: went on with {len(usable)} recordings of {earlier.folder.name}"
    return earlier, usable, (*progress.notes, went_on)


def _digest(settings: Settings, cells: tuple[Cell, ...]) -> str:
    """Two runs with the same digest measure the same cells of the same code in the same way."""
    options = settings.options
    code = code_state(settings.root)
    plan = [encode(cells), encode(options.measure), options.save_baseline, code, installed_versions()]
    plan += [settings.fleet.kinds] if settings.fleet.is_used else []
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
