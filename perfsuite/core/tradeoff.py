"""Owns the trade between latency, memory and startup: which strategies nothing beats, and when a startup pays back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one strategy takes: nanoseconds a request and to start, bytes; `None` is not known. Less is better."""

    name: str
    latency_ns: float
    startup_ns: float | None = None
    memory: float | None = None


def dominators(offers: Sequence[Offer]) -> dict[str, str]:
    """By the name of each offer that is beaten, the first one that is nowhere worse and somewhere better.

    Those not among the keys are the Pareto front. What one of two does not know is left out of their comparison.
    """
    found: dict[str, str] = {}
    for offer in offers:
        better = next((other.name for other in offers if _dominates(other, offer)), None)
        if better is not None:
            found[offer.name] = better
    return found


def _dominates(one: Offer, other: Offer) -> bool:
    names = [field.name for field in fields(Offer) if field.name != "name"]
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    known = [(mine, theirs) for mine, theirs in pairs if mine is not None and theirs is not None]
    return all(mine <= theirs for mine, theirs in known) and any(mine < theirs for mine, theirs in known)


def break_even(offer: Offer, other: Offer) -> float | None:
    """After how many requests `offer` has taken less time than `other` for good, startups included.

    0 if it does from the start, infinity if never, `None` if a startup is not known.
    """
    if offer.startup_ns is None or other.startup_ns is None:
        return None
    later, saved = offer.startup_ns - other.startup_ns, other.latency_ns - offer.latency_ns
    if saved <= 0:
        return 0.0 if later < 0 and saved == 0 else math.inf
    return max(0.0, float(math.ceil(later / saved)))
