"""Owns scales: from values to places on a plot, and the round values worth a tick."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

LOG_STEPS = (1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Values from `low` to `high` lie between the places `start` and `end`, evenly or by their logarithms."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value; what lies outside is put on the edge."""
        value = min(max(value, self.low), self.high)
        low, high, value = (math.log(v) if self.is_log else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def ticks(self, count: int) -> list[float]:
        """About `count` round values inside."""
        if not self.is_log:
            return _even(self.low, self.high, count)
        found = [
            step * 10.0**power
            for power in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for step in LOG_STEPS
        ]
        inside = [value for value in found if self.low * 0.999 <= value <= self.high * 1.001]
        if len(inside) < 2:
            return _even(self.low, self.high, count)
        tens = [value for value in inside if math.isclose(math.log10(value) % 1, 0, abs_tol=1e-9)]
        return tens if len(inside) > 2 * count and len(tens) > 1 else inside


def _even(low: float, high: float, count: int) -> list[float]:
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def spanning(values: Iterable[float], start: float, end: float, *, is_log: bool = False, pad: float = 0.06) -> Scale:
    """A scale with all of the values inside, and a margin, which does not reach below 0 where no value does."""
    found = list(values)
    low, high = min(found), max(found)
    if is_log:
        reach = max(math.log(high / low) * pad, 0.05)
        return Scale(low=low * math.exp(-reach), high=high * math.exp(reach), start=start, end=end, is_log=True)
    reach = (high - low) * pad or abs(high) * 0.1 or 1.0
    below = max(0.0, low - reach) if low >= 0 else low - reach
    return Scale(low=below, high=high + reach, start=start, end=end)


def tick_text(value: float, ticks: Iterable[float]) -> str:
    """The value with as many decimals as the finest of the ticks needs."""
    found = sorted(set(ticks))
    gap = min((b - a for a, b in pairwise(found)), default=abs(value) or 1.0)
    decimals = max(0, -math.floor(math.log10(gap) + 1e-9)) if gap < 1 else 0
    return f"{value:,.{decimals}f}".replace(",", " ")
