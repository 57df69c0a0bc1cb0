"""Owns the history of a cell: what each of its sessions, stored ones and those of this run, counts for, in time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from perfsuite.core.baseline import Baseline
from perfsuite.core.judgement import view
from perfsuite.core.machine import thinned
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import Metric, parse_metric
from perfsuite.core.recording import Recording
from perfsuite.core.statistics import LEAST_SHARE, FloatArray, UnusableSamplesError, readable, session_estimates
from perfsuite.core.verdict import Judgement, Outcome, Verdict

OPEN_TO = frozenset({Outcome.PASSED, Outcome.INCONCLUSIVE})
"""Outcomes after which the run's own sessions join the history; of a change that the gate found the verdict tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The estimates of one metric of one cell, logarithms, and when each session started, both in the order of time."""

    cell: Cell
    metric: Metric
    tolerance: float
    estimates: tuple[float, ...]
    started_at: tuple[str, ...]


def histories(baseline: Baseline, recordings: Sequence[Recording], judgement: Judgement) -> tuple[History, ...]:
    """One of every judged metric: the baseline's sessions, later ones that passed, and `recordings`, those of this run.

    The estimates are the gate's, raw or divided by a canary as the baseline says; void sessions are left out.
    """
    stored = (*baseline.recordings, *baseline.later)
    return tuple(
        _history(baseline, _in_time((*stored, *_joining(recordings, verdict))), verdict)
        for verdict in judgement.verdicts
    )


def _joining(recordings: Sequence[Recording], verdict: Verdict) -> tuple[Recording, ...]:
    """What perfsuite slowed itself tells nothing of the code."""
    return tuple(r for r in recordings if not r.injected_slowdown) if verdict.outcome in OPEN_TO else ()


def _in_time(recordings: Iterable[Recording]) -> list[Recording]:
    """Each session once, though it may be stored already, in the order they started."""
    found = {(recording.started_at, recording.samples): recording for recording in recordings}
    return sorted(found.values(), key=lambda recording: recording.started_at)


def _history(baseline: Baseline, recordings: Sequence[Recording], verdict: Verdict) -> History:
    metric = parse_metric(verdict.metric, where="verdict")
    views = [None if each.void else _readable(each.values) for each in view(metric, recordings, baseline)]
    longest = max((values.size for values in views if values is not None), default=0)
    whole = [
        (recording.started_at, values)
        for recording, values in zip(recordings, views, strict=True)
        if values is not None and values.size > LEAST_SHARE * longest
    ]
    return History(
        cell=baseline.cell,
        metric=metric,
        tolerance=verdict.tolerance,
        estimates=_estimates([values for _, values in whole], metric),
        started_at=tuple(started_at for started_at, _ in whole),
    )


def _readable(values: Sequence[float] | FloatArray) -> FloatArray | None:
    try:
        return readable(values)
    except UnusableSamplesError:
        return None


def _estimates(sessions: Sequence[FloatArray], metric: Metric) -> tuple[float, ...]:
    """Of equally many samples of each, because the estimate of a tail depends on their number."""
    if not sessions:
        return ()
    size = min(values.size for values in sessions)
    rows = np.stack([thinned(values, size) for values in sessions])
    return tuple(session_estimates(rows, metric.statistic).tolist())
