"""Owns the judgement of one cell: may it be compared at all, and if so, the verdict on every gated metric."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from perfsuite.core.attribution import attributed
from perfsuite.core.baseline import Baseline
from perfsuite.core.contrast import ratio
from perfsuite.core.cycles import with_cycles
from perfsuite.core.gate import judge
from perfsuite.core.machine import Seen, canary_ranges, matched, seen
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import SERIES, Metric
from perfsuite.core.noise import Noise
from perfsuite.core.noise_fit import fit_noise
from perfsuite.core.obstacle import obstacle_to
from perfsuite.core.options import GateOptions
from perfsuite.core.recording import Recording
from perfsuite.core.resources import judge_resources
from perfsuite.core.statistics import FloatArray, UnusableSamplesError, session_estimate
from perfsuite.core.verdict import Judgement, Outcome, Verdict

MOST_VOID_SESSIONS = 2
"""So many sessions of a cell may be void and be measured again; with more the machine is not the baseline's."""


def judge_cell(
    cell: Cell,
    baseline: Baseline | None,
    recordings: tuple[Recording, ...],
    *,
    tolerances: Mapping[Metric, float],
    gates: int,
    options: GateOptions,
    noise: Mapping[str, Noise] | None = None,
    save_command: str = "pytest --save-baseline",
    resources: Mapping[str, float] | None = None,
) -> Judgement:
    """Every gated metric of the cell, in the order of `tolerances` (fractions); a tolerance of 0 is not gated.

    `resources` are the tolerances of memory and energy, by name; those that the baseline does not know are not judged.

    `recordings` are the candidate's sessions, `gates` the number of verdicts in the whole run, `noise` is
    `suite_noise`, `save_command` what a remedy names for recording this cell's baseline. A metric without a value on
    either side (TPOT of one token) has no verdict; one with values on one side only is INVALID.
    """
    obstacle = obstacle_to(baseline, recordings, options, save_command)
    stored = () if baseline is None else baseline.recordings
    gated = tuple(metric for metric, tolerance in tolerances.items() if tolerance > 0)
    if obstacle is not None:
        invalid = obstacle.outcome is Outcome.INVALID
        kept = {m: tolerances[m] for m in gated if invalid or _has_values(m, recordings + stored)}
        return refuse(cell, kept, obstacle.outcome, obstacle.reason, obstacle.remedy)
    if baseline is None:
        raise AssertionError("a cell without a baseline has an obstacle")
    question = _Question(
        baseline=baseline,
        recordings=recordings,
        gates=gates,
        metrics=max(1, len(gated)),
        options=options,
        noise=noise or {},
    )
    verdicts = [question.verdict(metric, tolerances[metric]) for metric in gated if question.has_values(metric)]
    used = judge_resources(stored, recordings, resources or {})
    return Judgement(cell=cell, verdicts=attributed(verdicts), resources=used)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """A cell that can be compared, and all that its verdicts depend on."""

    baseline: Baseline
    recordings: tuple[Recording, ...]
    gates: int
    metrics: int
    options: GateOptions
    noise: Mapping[str, Noise]

    def has_values(self, metric: Metric) -> bool:
        return _has_values(metric, (*self.baseline.recordings, *self.recordings))

    def verdict(self, metric: Metric, tolerance: float) -> Verdict:
        stored, measured = (view(metric, own, self.baseline) for own in (self.baseline.recordings, self.recordings))
        unread = next((each.void for each in stored if each.void), "") if not usable(stored) else ""
        if unread:
            verdict = _unread_verdict(tolerance, unread)
        elif is_void(measured):
            verdict = _void_verdict(tolerance, measured)
        elif not (sides := matched(stored, measured)).is_fair:
            verdict = _unlike_verdict(tolerance, measured)
        else:
            verdict = judge(
                sides.stored,
                sides.measured,
                metric=metric.statistic.value,
                tolerance=tolerance,
                noise=self.noise.get(metric.key),
                gates=self.gates,
                metrics=self.metrics,
                looks=self.options.sessions,
                family_error=self.options.family_error,
                direction=metric.direction,
                later=usable(view(metric, self.baseline.later, self.baseline)),
            )
        mode, void = self.baseline.mode(metric).label, void_blocks_text(measured)
        told = replace(verdict, metric=metric.key, mode=mode, raw_change=self._raw_change(metric), void=void)
        return with_cycles(told, metric, self.baseline.recordings, self.recordings)

    def _raw_change(self, metric: Metric) -> float | None:
        """The change without any canary, where one divides; `None` where none does or nothing can be computed."""
        if self.baseline.mode(metric).canary is None:
            return None
        try:
            before, after = (
                np.mean([session_estimate(seen(metric, each).values, metric.statistic) for each in side])
                for side in (self.baseline.recordings, self.recordings)
            )
        except UnusableSamplesError:
            return None
        return ratio(float(after - before))


def view(metric: Metric, recordings: Sequence[Recording], baseline: Baseline) -> tuple[Seen, ...]:
    """The sessions' values, divided by a canary and left out where one left its range, as the baseline says."""
    mode, ranges = baseline.mode(metric), canary_ranges(baseline.recordings)
    return tuple(seen(metric, recording, mode, ranges) for recording in recordings)


def usable(sessions: Sequence[Seen]) -> tuple[Sequence[float] | FloatArray, ...]:
    """The values of every session that is not void."""
    return tuple(session.values for session in sessions if session.void is None)


def is_void(sessions: Sequence[Seen]) -> bool:
    """Whether too few of a candidate's sessions were measured on a machine that the baseline knows."""
    void = sum(session.void is not None for session in sessions)
    return void > MOST_VOID_SESSIONS or void == len(sessions)


def void_blocks_text(sessions: Sequence[Seen]) -> str:
    """'2 of 48 blocks void'; empty if every sample took part."""
    void, blocks = (sum(counts) for counts in zip(*((each.void_blocks, each.blocks) for each in sessions), strict=True))
    return f"{void} of {blocks} blocks void" if void else ""


def _unread_verdict(tolerance: float, reason: str) -> Verdict:
    """The baseline cannot be used as it says it should be."""
    return Verdict(
        metric="",
        outcome=Outcome.INVALID,
        tolerance=tolerance,
        reason=f"baseline: {reason}",
        remedy="record it again with: pytest --save-baseline",
    )


def _unlike_verdict(tolerance: float, sessions: Sequence[Seen]) -> Verdict:
    """Each session holds, but together they stand for too little of one."""
    return Verdict(
        metric="",
        outcome=Outcome.INCONCLUSIVE,
        tolerance=tolerance,
        candidate_sessions=len(usable(sessions)),
        reason="environment: the sessions have less than half of their blocks in common, the others are void",
        remedy="a machine as quiet as for the baseline, or a new baseline",
    )


def _void_verdict(tolerance: float, sessions: Sequence[Seen]) -> Verdict:
    void = [session.void for session in sessions if session.void is not None]
    may_go_on = len(void) <= MOST_VOID_SESSIONS
    return Verdict(
        metric="",
        outcome=Outcome.INCONCLUSIVE,
        tolerance=tolerance,
        candidate_sessions=len(usable(sessions)),
        reason=f"environment: {len(void)} of {len(sessions)} sessions void: {void[0]}",
        remedy="1 more session" if may_go_on else "a machine as quiet as for the baseline, or a new baseline",
        sessions_help=may_go_on,
    )


def refuse(
    cell: Cell, tolerances: Mapping[Metric, float], outcome: Outcome, reason: str, remedy: str = ""
) -> Judgement:
    """The same answer, with no number behind it, for every gated metric of the cell."""
    verdicts = (
        Verdict(metric=metric.key, outcome=outcome, tolerance=tolerance, reason=reason, remedy=remedy)
        for metric, tolerance in tolerances.items()
    )
    return Judgement(cell=cell, verdicts=tuple(verdicts))


def suite_noise(baselines: Sequence[Baseline], tolerances: Iterable[Metric]) -> dict[str, Noise]:
    """The noise of every gated metric by its key, fitted to the stored sessions of all cells that have values of it.

    The order of the cells is of no account, to the last digit.
    """
    result = {}
    ordered = sorted(baselines, key=lambda baseline: baseline.cell.id)
    for metric in tolerances:
        views = [view(metric, baseline.recordings, baseline) for baseline in ordered]
        cells = [[None if each.void else each.values for each in cell] for cell in views if any(e.blocks for e in cell)]
        result[metric.key] = fit_noise(cells, metric.statistic.value)
    return result


def gate_count(asked: Iterable[tuple[Sequence[Recording], Iterable[Metric]]]) -> int:
    """How many verdicts a run reaches: gated metrics that its own recordings have values of, over all cells."""
    return sum(_has_values(metric, recordings) for recordings, metrics in asked for metric in metrics)


def _has_values(metric: Metric, recordings: Iterable[Recording]) -> bool:
    return any(SERIES[metric.series].has_values(recording) for recording in recordings)
