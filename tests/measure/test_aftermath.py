"""What is kept of a session that lost its device, and what is measured once more."""

from dataclasses import replace

from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Recording
from perfsuite.measure.aftermath import after_loss, loss_note
from perfsuite.measure.fault import lost
from perfsuite.measure.launcher import SessionEnd
from tests.builders import make_cell, make_recording

FAULT = "CUDA error: device-side assert triggered"
CULPRIT, FINISHED, OTHER = (make_cell(prompt=prompt) for prompt in (10, 20, 30))


def cut_short(cell: Cell, n: int) -> Recording:
    recording = make_recording(cell, n=max(n, 1), decode=0, failures=(lost(FAULT, where=CULPRIT, samples=n),))
    return replace(recording, samples=recording.samples[:n])


def end(*others: Recording) -> SessionEnd:
    culprit = make_recording(CULPRIT, failures=(lost(FAULT),))
    return SessionEnd(recordings=(culprit, make_recording(FINISHED), *others), lost=FAULT, culprit=CULPRIT)


def test_the_cell_it_happened_at_and_finished_ones_are_kept_and_the_others_measured_again() -> None:
    after = after_loss(end(cut_short(OTHER, 3)), {}, losses=1)
    assert [recording.cell for recording in after.kept] == [CULPRIT, FINISHED]
    assert list(after.again) == [OTHER]


def test_when_it_repeats_everything_is_kept_with_the_longer_of_two_recordings() -> None:
    earlier, later = cut_short(OTHER, 3), cut_short(OTHER, 0)
    after = after_loss(end(later), {OTHER: earlier}, losses=2)
    assert after.again == {}
    assert after.kept[-1] == earlier


def test_a_note_says_once_what_happened_and_how_many_cells_are_not_run() -> None:
    again = after_loss(end(cut_short(OTHER, 3)), {}, losses=1)
    assert loss_note((CULPRIT, OTHER), (FAULT,), again) == (
        f"eager/tiny: a session lost the device ({FAULT}) and ended there; what was measured before is kept, "
        "what was not finished by then was measured in a fresh process"
    )
    stopped = after_loss(end(cut_short(OTHER, 0)), {}, losses=2)
    assert loss_note((CULPRIT, OTHER), (FAULT, FAULT), stopped) == (
        f"eager/tiny: 2 sessions lost the device ({FAULT}) and ended there; what was measured before is kept, "
        "cells that were not finished by then and are not run: 1"
    )
