"""Owns what strategies of one model offer against each other (latency, startup, memory), and the words for it."""

import math
from collections.abc import Sequence
from statistics import median

from perfsuite.core.tradeoff import Offer, break_even
from perfsuite.core.units import format_ms, to_s
from perfsuite.report.rows import Row, grouped


def arms_of(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows by strategy, of those that have a full request at all."""
    return grouped((row for row in rows if "e2e" in row.summaries), lambda row: row.cell.strategy_slug)


def common_length(rows: Sequence[Row]) -> int | None:
    """The longest prompt that all strategies were measured with; `None` if there is none, or only one strategy."""
    arms = arms_of(rows)
    common = set.intersection(*({row.prompt_tokens for row in own} for own in arms)) if len(arms) > 1 else set()
    return max(common, default=None)


def offer_of(rows: Sequence[Row], length: int) -> Offer:
    """What one strategy takes: E2E P50 at this prompt length, the median startup, the most memory."""
    (row,) = (row for row in rows if row.prompt_tokens == length)
    startups = [each.startup_ns for each in rows if each.startup_ns is not None]
    memories = [each.memory for each in rows if each.memory is not None]
    summary = row.summaries["e2e"]
    return Offer(
        name=row.cell.strategy_slug,
        latency_ns=summary.mean if summary.p50.value is None else summary.p50.value,
        startup_ns=median(startups) if startups else None,
        memory=float(max(memories)) if memories else None,
    )


def payback(offer: Offer, other: Offer) -> str:
    """'after 1,240 requests: 21.4 s more to start, 17.2 ms less a request'."""
    requests = break_even(offer, other)
    if requests is None or offer.startup_ns is None or other.startup_ns is None:
        return "unknown: a startup was not measured"
    if requests == 0:
        return f"at once: it starts no later than {other.name} and takes no longer a request"
    if math.isinf(requests):
        return f"never: a request takes no less than with {other.name}"
    later, saved = to_s(offer.startup_ns - other.startup_ns), other.latency_ns - offer.latency_ns
    return f"after {requests:,.0f} requests: {later:.2f} s more to start, {format_ms(saved)} ms less a request"
