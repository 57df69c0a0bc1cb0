"""Owns the judgement of a whole suite at once: what depends on all of its cells is taken from all of them.

That is the noise, fitted to every baseline, and how many verdicts share the accepted chance of a false alarm.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from perfsuite.core.baseline import Baseline
from perfsuite.core.drift import Drift, drifts
from perfsuite.core.history import histories
from perfsuite.core.judgement import gate_count, judge_cell, refuse, suite_noise
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import Metric
from perfsuite.core.options import GateOptions
from perfsuite.core.recording import Recording
from perfsuite.core.verdict import Judgement, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """The tolerances, fractions, that one test has a cell judged by: of metrics, and by name of memory and energy."""

    tolerances: Mapping[Metric, float]
    resources: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A cell to be judged: by which gates, its sessions, and what is `stored`, why that cannot be used, or `None`."""

    cell: Cell
    gates: Gates
    recordings: tuple[Recording, ...]
    stored: Baseline | str | None
    save_command: str


def judge_suite(questions: Sequence[Question], options: GateOptions) -> tuple[Judgement, ...]:
    """The judgement of every question, in their order, as one run with all of them reaches it."""
    baselines = {asked.cell: asked.stored for asked in questions if isinstance(asked.stored, Baseline)}
    metrics = {metric: tolerance for asked in questions for metric, tolerance in asked.gates.tolerances.items()}
    noise = suite_noise(list(baselines.values()), metrics)
    gates = max(1, gate_count((asked.recordings, asked.gates.tolerances) for asked in questions))
    return tuple(
        refuse(asked.cell, asked.gates.tolerances, Outcome.INVALID, asked.stored)
        if isinstance(asked.stored, str)
        else judge_cell(
            asked.cell,
            asked.stored,
            asked.recordings,
            tolerances=asked.gates.tolerances,
            gates=gates,
            options=options,
            noise=noise,
            save_command=asked.save_command,
            resources=asked.gates.resources,
        )
        for asked in questions
    )


def suite_drifts(
    judged: Iterable[tuple[Judgement, Baseline | object, Sequence[Recording]]],
) -> tuple[Drift, ...]:
    """Where the level of a cell has slowly become another one; cells without a baseline have no history."""
    watched = {
        (history.cell, history.metric): history
        for judgement, stored, recordings in judged
        if isinstance(stored, Baseline)
        for history in histories(stored, recordings, judgement)
    }
    return drifts(watched.values())
