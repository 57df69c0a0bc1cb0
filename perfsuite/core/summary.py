"""Owns what a table says of one list of values: quantiles that know their n, their interval or what they lack."""

from dataclasses import dataclass

from perfsuite.core.verdict import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantile:
    """One quantile by linear interpolation; below its sample floor `value` is `None` and `missing` says how many
    samples more are needed (0 otherwise). `interval` is distribution-free, from order statistics.
    """

    probability: float
    value: float | None
    interval: Interval | None
    missing: int = 0

    @property
    def half_width(self) -> float | None:
        """Half of the interval."""
        return None if self.interval is None else (self.interval.high - self.interval.low) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Count, moments and quantiles of one list of values, all in the values' own unit; `std` has n - 1 below it and
    is `None` for one value.
    """

    count: int
    mean: float
    std: float | None
    minimum: float
    maximum: float
    p50: Quantile
    p95: Quantile
    p99: Quantile
