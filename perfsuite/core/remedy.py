"""Owns the words about a verdict that is none: what keeps it from one, and by the formulas what would decide it."""

import math
from dataclasses import replace

from scipy import special

from perfsuite.core.contrast import (
    AGREEING_SESSIONS,
    Contrast,
    Rule,
    baseline_spread,
    decide,
    detectable,
    is_below,
    is_heavier,
    ratio,
)
from perfsuite.core.noise import Noise, Spread, iteration_variance, samples_needed
from perfsuite.core.statistics import FloatArray
from perfsuite.core.units import format_change
from perfsuite.core.verdict import Outcome

NOISY_HOST_SD = 0.015
"""Median over cells of the sd between sessions above which no tail is gated (docs/gate.md 4)."""
MOST_SESSIONS, MOST_BASELINE_SESSIONS, MOST_SAMPLES_FACTOR = 20, 50, 10
"""How far a remedy looks for what would decide."""


def obstacle(baseline: FloatArray, rule: Rule, noise: Noise | None) -> tuple[str, str] | None:
    """Why no candidate session can bring a verdict on this tail, and what would; `None` if one can (docs/gate.md 4)."""
    label, n, needed = rule.statistic.value.upper(), baseline.shape[1], samples_needed(rule.statistic)
    if n < needed:
        return f"{n} samples per session are too few for {label}, {needed} are needed", _more_samples_text(n, needed)
    if noise is not None and noise.level_sd is not None and noise.level_sd > NOISY_HOST_SD:
        reason = f"the medians of a usual cell differ by {_percent(noise.level_sd)} from session to session (sd)"
        allowed = f"{_percent(NOISY_HOST_SD)} is allowed for {label}"
        return f"{reason}, {allowed}", "gate the median, or use a quieter machine"
    spread = baseline_spread(baseline, rule.statistic, noise)
    if spread.sd <= rule.limit / 3:
        return None
    reason = f"{label} differs by {_percent(spread.sd)} between baseline sessions (sd)"
    remedy = _quieter_tail(spread, iteration_variance(baseline, rule.statistic), n, rule)
    return f"{reason}, a third of the tolerance is {_percent(rule.limit / 3)}", remedy


def _quieter_tail(spread: Spread, sampling: float, n: int, rule: Rule) -> str:
    """More samples where they are what makes the sessions differ, else the tolerance three sds fit into."""
    allowed, between = (rule.limit / 3) ** 2, spread.variance - sampling
    if between < allowed:
        enough = math.ceil(n * sampling / (allowed - between))
        if enough <= n * MOST_SAMPLES_FACTOR:
            return _more_samples_text(n, enough)
    return _tolerance_remedy(ratio(3 * spread.sd), rule)


def doubt(contrast: Contrast, rule: Rule) -> str:
    """Which condition of a pass and of a fail does not hold."""
    change = format_change(ratio(rule.direction.value * contrast.theta))
    slow = f"{contrast.slow_candidate} of {contrast.n * contrast.k} samples"
    usual = f"{contrast.slow_baseline} of {contrast.n * contrast.m} in the baseline"
    if is_below(contrast, rule):
        return f"{change} is below the tolerance, but {slow} beyond the tail's limit are surely more than {usual}"
    counts = f"{contrast.k} vs {contrast.m} sessions of sd {_percent(contrast.spread.sd)}"
    if contrast.theta - contrast.alarm_reach(rule) <= 0:
        unsure = "neither surely below the tolerance nor, as rare as false alarms have to be, surely a change"
        return f"{change} is {unsure} ({counts})"
    if contrast.agreeing < AGREEING_SESSIONS:
        half = _percent(math.expm1(rule.limit / 2))
        agreeing = f"{AGREEING_SESSIONS} candidate sessions worse by {half} are needed"
        return f"{change} is a change, but {agreeing}, found {contrast.agreeing} of {contrast.k}"
    return f"{change}, but {slow} beyond the tail's limit are not surely more than {usual}"


def agreement(contrast: Contrast, rule: Rule) -> str:
    """How many candidate sessions agree that it regressed."""
    half = _percent(math.expm1(rule.limit / 2))
    return f"{contrast.agreeing} of {contrast.k} candidate sessions are worse by more than {half}"


def remedy_for(contrast: Contrast, rule: Rule) -> str:
    """What would decide if the change and the noise stayed as found: the fewest sessions or samples that do."""
    sessions = _fewest_sessions(contrast, rule)
    if sessions is not None and contrast.k + sessions <= rule.looks:
        return _more(sessions, "session")
    options = [_more(sessions, "session")] if sessions is not None else []
    options += _larger_baseline(contrast, rule)
    if not options and rule.statistic.is_tail:
        options = _more_samples(contrast, rule)
    if not options and is_heavier(contrast, rule):
        return f"gate the mean too: what became slower lies beyond {rule.statistic.value.upper()}"
    return " or ".join(options) or _tolerance_remedy(_gateable(contrast, rule), rule)


def _decides(contrast: Contrast, rule: Rule) -> bool:
    return decide(contrast, rule) is not Outcome.INCONCLUSIVE


def _fewest_sessions(contrast: Contrast, rule: Rule) -> int | None:
    for k in range(contrast.k + 1, MOST_SESSIONS + 1):
        larger = enlarged(contrast, rule, m=_beside(contrast, rule, k), k=k)
        if _decides(larger, replace(rule, looks=max(rule.looks, k))):
            return k - contrast.k
    return None


def _beside(contrast: Contrast, rule: Rule, k: int) -> int:
    """How many baseline sessions there are when the candidate has `k`: in turns each comes with an A/A session."""
    return contrast.m + (k - contrast.k if rule.in_turns else 0)


def _larger_baseline(contrast: Contrast, rule: Rule) -> list[str]:
    k = max(rule.looks, contrast.k)
    for m in range(contrast.m + 1, MOST_BASELINE_SESSIONS + 1):
        if _decides(enlarged(contrast, rule, m=m, k=k), rule):
            candidates = f" and {k} candidate sessions" if k > contrast.k else ""
            return [f"{m} {'A/A' if rule.in_turns else 'baseline'} sessions ({contrast.m} now){candidates}"]
    return []


def _more_samples(contrast: Contrast, rule: Rule) -> list[str]:
    for factor in range(2, MOST_SAMPLES_FACTOR + 1):
        if _decides(enlarged(contrast, rule, k=max(rule.looks, contrast.k), factor=factor), rule):
            return [_more_samples_text(contrast.n, contrast.n * factor)]
    return []


def _gateable(contrast: Contrast, rule: Rule) -> float:
    k = max(rule.looks, contrast.k)
    return detectable(enlarged(contrast, rule, k=k).spread, rule, m=contrast.m, k=k)


def _tolerance_remedy(tolerance: float, rule: Rule) -> str:
    options = [f"a tolerance of {_percent(tolerance)}"] if tolerance <= 1 else []
    options.append("a quieter machine")
    if not (rule.statistic.is_tail or rule.in_turns):
        options.append("both versions in turns (--perf-against REF, docs/twin.md)")
    return " or ".join(options)


def _more(count: int, noun: str) -> str:
    return f"{count} more {noun}{'s' if count > 1 else ''}"


def _more_samples_text(n: int, enough: int) -> str:
    return f"{_more(enough - n, 'sample')} per session (n = {enough})"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def enlarged(contrast: Contrast, rule: Rule, *, m: int = 0, k: int = 0, factor: int = 1) -> Contrast:
    """The contrast with `m` and `k` sessions of `factor` times the samples, were all else to stay as it is."""
    m, k = m or contrast.m, k or contrast.k
    more, spread = k - contrast.k, contrast.spread
    return replace(
        contrast,
        spread=replace(
            spread,
            freedom=spread.freedom + m - contrast.m + more,
            measured=spread.measured + more,
            pool_df=spread.pool_df * (m - 1) / (contrast.m - 1),
        ),
        m=m,
        k=k,
        n=contrast.n * factor,
        agreeing=contrast.agreeing + (more if contrast.theta > rule.limit / 2 else 0),
        slow_baseline=round(contrast.slow_baseline * factor * m / contrast.m),
        slow_candidate=round(contrast.slow_candidate * factor * k / contrast.k),
    )


def sessions_can_decide(contrast: Contrast, rule: Rule) -> bool:
    """Whether the sessions left could still decide, if the noise is at the low end of its 95 % interval.

    Tried with the change as found and with none. `False` where the cell is so noisy that measuring on only costs time.
    """
    k = max(rule.looks, contrast.k + 1)
    freedom = contrast.spread.freedom
    variance = contrast.spread.variance * freedom / float(special.chdtri(freedom, 0.05))
    quiet = replace(contrast, spread=replace(contrast.spread, variance=variance))
    m = _beside(contrast, rule, k)
    found = (enlarged(case, rule, m=m, k=k) for case in (quiet, replace(quiet, theta=0.0)))
    return any(decide(case, rule) is not Outcome.INCONCLUSIVE for case in found)
