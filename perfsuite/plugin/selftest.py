"""Owns the self-test of a run: after its own sessions, replays of the stored ones and a trial with a real slowdown.

The run's own verdicts are the trial on the same code; the self-test changes none of them.
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace

from perfsuite.core.baseline import Baseline
from perfsuite.core.errors import OptionError
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import Metric
from perfsuite.core.replay import study
from perfsuite.core.selftest import Gated, SelfTest, default_slowdown
from perfsuite.core.workload import Workload
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.trial import Ways, try_gate
from perfsuite.plugin.progress import ProgressDisplay
from perfsuite.plugin.selection import Ask
from perfsuite.plugin.settings import Settings
from perfsuite.plugin.shelf import Shelf

WorkloadsOf = Callable[[Cell], tuple[Workload, ...]]
"""All that a cell's strategy is opened for."""

NO_BASELINE = "--perf-selftest: no cell of this run has a baseline; save one with: pytest --save-baseline"


def gated_of(asks: Iterable[Ask], shelf: Shelf) -> tuple[Gated, ...]:
    """The cells with a usable baseline, each with the tolerances of all tests that judge it."""
    tolerances: dict[Cell, dict[Metric, float]] = {}
    for ask in asks:
        tolerances.setdefault(ask.cell, {}).update(ask.tolerances)
    found = ((shelf.of(cell), own) for cell, own in tolerances.items())
    return tuple(Gated(baseline=stored, tolerances=own) for stored, own in found if isinstance(stored, Baseline))


def prove(
    gated: tuple[Gated, ...], settings: Settings, display: ProgressDisplay, gates: int, workloads: WorkloadsOf
) -> SelfTest:
    """The self-test of these cells; OptionError if there is none, or if a strategy cannot run any more."""
    if not gated:
        raise OptionError(NO_BASELINE)
    ways = Ways(
        reference=settings.reference,
        workloads=workloads,
        import_path=tuple(sys.path),
        options=settings.options.gate,
        gates=gates,
        began=display.session_began,
        progressed=display.progressed,
        ended=lambda end: display.session_ended(f"self-test, {_words(end)}"),
        engine_dir=settings.engine_dir,
    )
    found = study(gated, settings.options.gate, gates=gates)
    return replace(found, trials=(try_gate(gated, ways, slowdown=default_slowdown(gated)),))


def _words(end: SessionEnd) -> str:
    return "slowed: done" if end.recordings else "slowed: failed"
