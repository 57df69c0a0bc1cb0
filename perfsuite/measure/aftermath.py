"""Owns what becomes of the cells of a session whose device was lost: what is kept, and what is measured once more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Recording
from perfsuite.core.validity import LOST
from perfsuite.measure.fault import NOT_RUN
from perfsuite.measure.launcher import SessionEnd

MOST_LOSSES = 2
"""So many sessions of one strategy and model may lose the device; then their other cells are not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """`kept` is final; `again` are the cells for a fresh process, with what was taken of them so far."""

    kept: tuple[Recording, ...]
    again: Mapping[Cell, Recording]


def after_loss(end: SessionEnd, before: Mapping[Cell, Recording], losses: int) -> Aftermath:
    """What follows from a session that lost its device, the `losses`-th of its strategy and model.

    The cell at which it happened is kept as it is, and so are those that were finished. The others are measured in a
    fresh process, unless this was the last that is allowed: then the longer of their recordings is kept.
    """
    waiting = {r.cell: r for r in end.recordings if r.cell != end.culprit and _is_cut_short(r)}
    done = tuple(recording for recording in end.recordings if recording.cell not in waiting)
    longer = {cell: _longer(now, before.get(cell)) for cell, now in waiting.items()}
    if losses < MOST_LOSSES:
        return Aftermath(kept=done, again=longer)
    return Aftermath(kept=(*done, *longer.values()), again={})


def loss_note(cells: Sequence[Cell], faults: Sequence[str], after: Aftermath) -> str:
    """What a run says of it, once for each strategy and model."""
    left_out = sum(any(f.message.startswith(NOT_RUN) for f in recording.failures) for recording in after.kept)
    arm = f"{cells[0].strategy_slug}/{cells[0].model.slug}"
    told = " and ".join(dict.fromkeys(faults))
    rest = (
        f"cells that were not finished by then and are not run: {left_out}"
        if left_out
        else "what was not finished by then was measured in a fresh process"
    )
    sessions = "a session" if len(faults) == 1 else f"{len(faults)} sessions"
    return f"{arm}: {sessions} lost the device ({told}) and ended there; what was measured before is kept, {rest}"


def _is_cut_short(recording: Recording) -> bool:
    return any(failure.stage == LOST for failure in recording.failures)


def _longer(now: Recording, before: Recording | None) -> Recording:
    longest = max((each for each in (now, before) if each is not None), key=lambda each: len(each.samples))
    return replace(longest, session=now.session)
