"""Owns the words for one verdict: its metric, levels, change, interval and n, why it is so, and what would mend it."""

from perfsuite.core.metrics import SERIES, parse_metric
from perfsuite.core.resources import RESOURCES
from perfsuite.core.twin import IN_TURNS
from perfsuite.core.units import format_change, format_ms, format_percent
from perfsuite.core.verdict import Interval, Outcome, Verdict

WORTH_SAYING = 0.2
"""Share of the tolerance by which the raw change must differ from the divided one to be shown beside it."""


def why(verdict: Verdict) -> str:
    """Which of host and device moved, reason and remedy.

    What would decide an inconclusive metric is a noun ('2 more sessions') and needs its verb.
    """
    asks = verdict.remedy and verdict.outcome is Outcome.INCONCLUSIVE
    remedy = f"to decide: {verdict.remedy}" if asks else verdict.remedy
    return "; ".join(filter(None, (verdict.moved, verdict.reason, verdict.void, remedy)))


def explained(verdict: Verdict, remedy: str) -> str:
    """'no baseline for …; record one with: …', the outcome named once even if the reason starts with it."""
    outcome = verdict.outcome.value
    reason = (
        verdict.reason if verdict.reason.startswith(outcome) else ": ".join(filter(None, (outcome, verdict.reason)))
    )
    return "; ".join(filter(None, (reason, remedy)))


def label(metric: str) -> str:
    """'TTFT P50', 'peak memory'; what is neither keeps its own name."""
    if metric in RESOURCES:
        return RESOURCES[metric].label
    return parse_metric(metric, where="verdict").label if metric.partition(".")[0] in SERIES else metric


def change_text(verdict: Verdict) -> str:
    """'TTFT P50 +0.3 % (95 % CI -0.5..+1.1 %, n=300 vs 8x300)'."""
    if verdict.change is None:
        return label(verdict.metric)
    details = ", ".join(filter(None, (interval_text(verdict.interval), sizes(verdict), basis(verdict), verdict.void)))
    return f"{label(verdict.metric)} {format_change(verdict.change)}" + (f" ({details})" if details else "")


def numbers(verdict: Verdict) -> str:
    if verdict.baseline is None or verdict.candidate is None or verdict.change is None:
        return ""
    levels = f"{level(verdict.metric, verdict.baseline)} -> {level(verdict.metric, verdict.candidate)}"
    details = (format_change(verdict.change), interval_text(verdict.interval), sizes(verdict), basis(verdict))
    return f" {levels} ({', '.join(filter(None, details))}), tolerance {format_percent(verdict.tolerance)}"


def level(metric: str, value: float) -> str:
    """'41.2 ms', '12.6 GiB'."""
    return RESOURCES[metric].text(value) if metric in RESOURCES else f"{format_ms(value)} ms"


def interval_text(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{format_percent(interval.confidence)} CI {100 * interval.low:+.1f}..{100 * interval.high:+.1f} %"


def sizes(verdict: Verdict) -> str:
    """'n=50 vs 5x50': samples of the candidate and of the baseline, sessions times samples where there are several."""
    if not verdict.samples or verdict.metric in RESOURCES:
        return ""
    candidate, baseline = (
        f"{sessions}x{verdict.samples}" if sessions > 1 else str(verdict.samples)
        for sessions in (verdict.candidate_sessions, verdict.baseline_sessions)
    )
    return f"n={candidate} vs {baseline}"


def basis(verdict: Verdict) -> str:
    """'over graph^0.34', and the change of the raw times, and in cycles, where that makes a difference."""
    in_cycles = f"in cycles {format_change(verdict.cycles_change or 0.0)}" if _differs(verdict, "cycles_change") else ""
    if verdict.mode in ("raw", IN_TURNS):
        return ", ".join(filter(None, ("in turns" if verdict.mode == IN_TURNS else "", in_cycles)))
    raw = f"raw {format_change(verdict.raw_change or 0.0)}" if _differs(verdict, "raw_change") else ""
    return ", ".join(filter(None, (f"over {verdict.mode}", raw, in_cycles)))


def _differs(verdict: Verdict, name: str) -> bool:
    """Whether another view of the change is far enough from it to be shown."""
    other, change = getattr(verdict, name), verdict.change
    return other is not None and change is not None and abs(other - change) > WORTH_SAYING * verdict.tolerance
