"""Owns the judgement of one cell: may it be compared at all, and if so, the verdict on every gated metric."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from perfsuite.core.baseline import Baseline
from perfsuite.core.gate import judge
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import SERIES, Metric
from perfsuite.core.noise import Noise, fit_noise
from perfsuite.core.options import GateOptions
from perfsuite.core.recording import Recording
from perfsuite.core.validity import problems, unsavable
from perfsuite.core.verdict import Judgement, Outcome, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class _Obstacle:
    """What keeps a whole cell from being compared."""

    outcome: Outcome
    reason: str
    remedy: str


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
) -> Judgement:
    """Every gated metric of the cell, in the order of `tolerances` (fractions); a tolerance of 0 is not gated.

    `recordings` are the candidate's sessions, `gates` the number of verdicts in the whole run, `noise` is
    `suite_noise`, `save_command` what a remedy names for recording this cell's baseline. A metric without a value on
    either side (TPOT of one token) has no verdict; one with values on one side only is INVALID.
    """
    obstacle = _obstacle(baseline, recordings, options, save_command)
    stored = () if baseline is None else baseline.recordings
    gated = tuple(metric for metric, tolerance in tolerances.items() if tolerance > 0)
    if obstacle is not None:
        invalid = obstacle.outcome is Outcome.INVALID
        kept = {m: tolerances[m] for m in gated if invalid or any(_values(m, recordings + stored))}
        return refuse(cell, kept, obstacle.outcome, obstacle.reason, obstacle.remedy)
    ask = partial(judge, gates=gates, looks=options.sessions, family_error=options.family_error)
    verdicts = []
    for metric in gated:
        sides = _values(metric, stored), _values(metric, recordings)
        if any(map(any, sides)):
            fitted = (noise or {}).get(metric.key)
            name = metric.statistic.value
            verdict = ask(*sides, metric=name, tolerance=tolerances[metric], noise=fitted, direction=metric.direction)
            verdicts.append(replace(verdict, metric=metric.key))
    return Judgement(cell=cell, verdicts=tuple(verdicts))


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
    """The noise of every gated metric by its key, fitted to the stored sessions of all cells that have values of it."""
    result = {}
    for metric in tolerances:
        cells = [_values(metric, baseline.recordings) for baseline in baselines]
        result[metric.key] = fit_noise([cell for cell in cells if any(cell)], metric.statistic.value)
    return result


def _values(metric: Metric, recordings: Sequence[Recording]) -> tuple[tuple[float, ...], ...]:
    return tuple(SERIES[metric.series].values(recording) for recording in recordings)


def _obstacle(
    baseline: Baseline | None, recordings: tuple[Recording, ...], options: GateOptions, save_command: str
) -> _Obstacle | None:
    if not recordings:
        return _Obstacle(outcome=Outcome.INVALID, reason="no session was measured", remedy="measure again")
    for recording in recordings:
        for problem in problems(recording):
            reason = f"session {recording.session}: {problem}"
            return _Obstacle(outcome=Outcome.INVALID, reason=reason, remedy="mend the cause and measure again")
    if baseline is None:
        reason = f"no baseline for {recordings[0].environment.device!r}"
        return _Obstacle(outcome=Outcome.NO_BASELINE, reason=reason, remedy=f"record one with: {save_command}")
    for recording in baseline.recordings:
        for problem in unsavable(recording):
            reason = f"baseline session {recording.session}: {problem}"
            return _Obstacle(outcome=Outcome.INVALID, reason=reason, remedy=f"record it again with: {save_command}")
    return _incomparable(baseline, recordings, options.ignored_environment, save_command)


def _incomparable(
    baseline: Baseline, recordings: tuple[Recording, ...], ignored: frozenset[str], save_command: str
) -> _Obstacle | None:
    """The differences of all sessions, each once; those of the environment can be allowed by their key."""
    differing = _once(phrase for r in recordings for phrase in baseline.mismatches(r, ignore=ignored))
    if not differing:
        return None
    keys = _once(
        phrase.partition(":")[0]
        for r in recordings
        for phrase in r.environment.differences(baseline.environment, ignore=ignored)
    )
    remedy = f"record a new baseline with: {save_command}"
    if len(keys) == len(differing):
        remedy += f"; or compare all the same: --perf-allow-mismatch {','.join(keys)}"
    return _Obstacle(outcome=Outcome.INCOMPARABLE, reason="; ".join(differing), remedy=remedy)


def _once(phrases: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(phrases))
