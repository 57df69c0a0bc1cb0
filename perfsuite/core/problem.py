"""Owns what a sampling check can find: a property that does not hold, with its evidence."""

from dataclasses import dataclass
from enum import Enum

FALSE_ALARM = 1e-6
"""Chance that all checks together find a problem in one correct sampler, or in one session of one strategy.

A run with a thousand of these has a false alarm in at most 1 of 1,000 runs."""
SHARES = {"distribution": 0.5, "effect": 0.25, "independence": 0.25}
"""How FALSE_ALARM is split. Support, greedy, parity and answer need none: they rest on bounds of rounding."""


class Property(Enum):
    """What every correct sampler has."""

    SUPPORT = "support"
    DISTRIBUTION = "distribution"
    EFFECT = "effect of the parameters"
    PENALTY = "repetition penalty"
    GREEDY = "greedy"
    RANDOMNESS = "randomness"
    PARITY = "parity"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A property that does not hold; `finding` is the evidence in one line."""

    property: Property
    finding: str

    def __str__(self) -> str:
        return f"{self.property.value}: {self.finding}"
