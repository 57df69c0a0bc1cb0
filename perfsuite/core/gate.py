"""Owns the verdict on one metric of one cell: its numbers, its reason, and what would decide it.

The session is the datum, never the sample; the formulas are in docs/gate.md. It knows neither cells nor baselines.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from perfsuite.core.contrast import Contrast, Rule, baseline_spread, compare, decide, detectable, ratio
from perfsuite.core.errors import OptionError
from perfsuite.core.metrics import Direction
from perfsuite.core.noise import Noise, samples_needed
from perfsuite.core.remedy import agreement, doubt, obstacle, remedy_for, sessions_can_decide
from perfsuite.core.statistics import (
    FloatArray,
    UnusableSamplesError,
    cut_short,
    first_common,
    is_list,
    readable,
    session_estimates,
    statistic_named,
)
from perfsuite.core.verdict import Interval, Outcome, Verdict

Sessions = Sequence[Sequence[float] | FloatArray]

AS_LONG = "measure sessions of the same length"
LEAST_BASELINE_SESSIONS, ADVISED_BASELINE_SESSIONS = 2, 5


def judge(
    baseline: Sessions,
    candidate: Sessions,
    *,
    metric: str = "median",
    tolerance: float = 0.05,
    noise: Noise | None = None,
    gates: int = 1,
    metrics: int = 1,
    looks: int = 6,
    family_error: float = 0.001,
    direction: Direction = Direction.LOWER_IS_BETTER,
    later: Sessions = (),
    in_turns: bool = False,
) -> Verdict:
    """The verdict on one metric; samples in any unit, the same on both sides, in the order taken.

    `metric` is 'median', 'mean', 'p95' or 'p99'; `gates` counts the verdicts of the whole run, `metrics` how many
    different metrics are among them, `looks` the sessions a candidate may get. `later` are sessions of later runs that
    passed; they tell of the noise, not of the level. `in_turns`: samples are ratios of two versions that took turns.
    The first samples of each session count, as many as the shortest has; one that is cut to half or less of the longest
    is refused. Bad samples never raise, they give INVALID; OptionError for an argument that cannot be used.
    """
    rule = Rule(
        statistic=statistic_named(metric),
        tolerance=tolerance,
        gates=gates,
        metrics=metrics,
        looks=looks,
        family_error=family_error,
        direction=direction,
        in_turns=in_turns,
    )
    if noise is not None and noise.statistic is not rule.statistic:
        raise OptionError(f"noise: it was fitted for {noise.statistic.value!r}, not for {metric!r}; fit it again")
    counts = _uncompared(metric, tolerance, baseline, candidate)
    try:
        stored, measured = _read(baseline, "baseline"), _read(candidate, "candidate")
        known = _readable_ones(later)
    except UnusableSamplesError as error:
        return replace(counts, reason=str(error), remedy="measure that session again")
    if cut_short([*stored, *measured]) is not None:
        return replace(counts, outcome=Outcome.INCONCLUSIVE, reason=_length_text(stored, measured), remedy=AS_LONG)
    n = min(session.size for session in (*stored, *measured))
    beside = [session for session in known if session.size >= n]
    sides = _Sides(
        baseline=first_common(stored, n),
        candidate=first_common(measured, n),
        later=first_common(beside, n) if beside else None,
    )
    return _judge(sides, counts, rule, noise)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sides:
    """What is compared: a row per session, all of one length."""

    baseline: FloatArray
    candidate: FloatArray
    later: FloatArray | None


def _uncompared(metric: str, tolerance: float, baseline: Sessions, candidate: Sessions) -> Verdict:
    return Verdict(
        metric=metric,
        outcome=Outcome.INVALID,
        tolerance=tolerance,
        baseline_sessions=len(baseline) if is_list(baseline) else 0,
        candidate_sessions=len(candidate) if is_list(candidate) else 0,
    )


def _read(sessions: Sessions, side: str) -> list[FloatArray]:
    if not is_list(sessions):
        raise UnusableSamplesError(f"{side}: not a list of sessions")
    if not len(sessions):
        raise UnusableSamplesError(f"{side}: no sessions")
    return [_read_one(values, f"{side} session {number}") for number, values in enumerate(sessions, start=1)]


def _readable_ones(sessions: Sessions) -> list[FloatArray]:
    """What only widens the noise may lack a session that cannot be used; the verdict does not rest on it."""
    found = []
    for values in sessions if is_list(sessions) else ():
        try:
            found.append(readable(values))
        except UnusableSamplesError:
            continue
    return found


def _read_one(values: Sequence[float] | FloatArray, where: str) -> FloatArray:
    try:
        return readable(values)
    except UnusableSamplesError as error:
        raise UnusableSamplesError(f"{where}: {error}") from error


def _length_text(baseline: Sequence[FloatArray], candidate: Sequence[FloatArray]) -> str:
    sessions = [*baseline, *candidate]
    longest, index = max(session.size for session in sessions), cut_short(sessions) or 0
    side, number = ("baseline", index) if index < len(baseline) else ("candidate", index - len(baseline))
    size = sessions[index].size
    return f"{side} session {number + 1} is cut short: n = {size}, half or less of the longest session's {longest}"


def _judge(sides: _Sides, counts: Verdict, rule: Rule, noise: Noise | None) -> Verdict:
    baseline, candidate = sides.baseline, sides.candidate
    stored, measured = (float(session_estimates(rows, rule.statistic).mean()) for rows in (baseline, candidate))
    verdict = replace(
        counts,
        outcome=Outcome.INCONCLUSIVE,
        baseline=math.exp(stored),
        candidate=math.exp(measured),
        change=ratio(measured - stored),
        samples=baseline.shape[1],
    )
    if len(baseline) < LEAST_BASELINE_SESSIONS:
        return replace(
            verdict,
            reason="one baseline session says nothing of the noise between sessions",
            remedy=f"{ADVISED_BASELINE_SESSIONS} baseline sessions, {LEAST_BASELINE_SESSIONS} at least",
        )
    contrast = compare(baseline, candidate, rule, noise, sides.later)
    verdict = replace(verdict, interval=_interval(contrast, rule))
    blocked = obstacle(baseline, rule, noise) if rule.statistic.is_tail else None
    if blocked is not None:
        return replace(verdict, reason=blocked[0], remedy=blocked[1])
    outcome = decide(contrast, rule)
    if outcome is Outcome.INCONCLUSIVE:
        return replace(
            verdict,
            reason=doubt(contrast, rule),
            remedy=remedy_for(contrast, rule),
            sessions_help=sessions_can_decide(contrast, rule),
        )
    return replace(verdict, outcome=outcome, reason=agreement(contrast, rule) if outcome.fails else "")


def _interval(contrast: Contrast, rule: Rule) -> Interval:
    """95 %, two-sided, of the change in its natural sign."""
    natural, reach = rule.direction.value * contrast.theta, contrast.reach(0.025)
    return Interval(low=ratio(natural - reach), high=ratio(natural + reach))


def minimum_detectable(
    baseline: Sessions,
    *,
    metric: str = "median",
    noise: Noise | None = None,
    gates: int = 1,
    looks: int = 6,
    family_error: float = 0.001,
) -> float | None:
    """The smallest tolerance this baseline can gate with `looks` candidate sessions, as a fraction (docs/gate.md 5).

    `None` if it can gate none: fewer than two sessions, or too few samples for a tail. UnusableSamplesError for
    sessions nothing can be computed of, OptionError for an unknown metric.
    """
    rule = Rule(statistic=statistic_named(metric), gates=gates, looks=looks, family_error=family_error)
    rows = first_common(_read(baseline, "baseline"))
    m, n = rows.shape
    if m < LEAST_BASELINE_SESSIONS or n < samples_needed(rule.statistic):
        return None
    spread = baseline_spread(rows, rule.statistic, noise)
    measured = replace(spread, freedom=spread.freedom + looks - 1, measured=looks - 1)
    return detectable(measured, rule, m=m, k=looks)
