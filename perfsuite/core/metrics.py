"""Owns the metrics: what each one is called, where its values come from and which direction is better."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean, median
from types import MappingProxyType

from perfsuite.core.errors import OptionError
from perfsuite.core.recording import Recording
from perfsuite.core.sample import Phase, Sample


class Direction(Enum):
    """Which way is worse; a verdict multiplies the change of the logarithm by it."""

    LOWER_IS_BETTER = 1
    HIGHER_IS_BETTER = -1


class Statistic(Enum):
    """What is taken of a session's samples."""

    MEAN = "mean"
    P50 = "p50"
    P95 = "p95"
    P99 = "p99"

    @property
    def probability(self) -> float | None:
        """The quantile's probability; `None` for the mean."""
        return {"p50": 0.5, "p95": 0.95, "p99": 0.99}.get(self.value)

    @property
    def is_tail(self) -> bool:
        return self in (Statistic.P95, Statistic.P99)


_AMONG: Mapping[Statistic, Callable[[Sequence[float]], float]] = MappingProxyType(
    {Statistic.MEAN: fmean, Statistic.P50: median, Statistic.P95: max, Statistic.P99: max}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A quantity that every request, or every gap in it, has one value of, in nanoseconds: `of_request`."""

    name: str
    label: str
    phase: Phase
    direction: Direction
    of_request: Callable[[Sample], tuple[float, ...]]

    def of_sample(self, sample: Sample) -> tuple[float, ...]:
        """The values of all requests of a call."""
        return tuple(value for request in sample.requests for value in self.of_request(request))

    def of_call(self, sample: Sample, statistic: Statistic) -> tuple[float, ...]:
        """What a call counts with in a verdict: requests that were sent together share their fate and count once.

        The median of their values for the median, the mean for the mean, the slowest for a tail.
        """
        values = self.of_sample(sample)
        return (_AMONG[statistic](values),) if sample.rows_ns and values else values

    def values(self, recording: Recording) -> tuple[float, ...]:
        """Every value of this series in one session, in the order taken; empty where it is undefined."""
        return tuple(value for sample in recording.of_phase(self.phase) for value in self.of_sample(sample))

    def has_values(self, recording: Recording) -> bool:
        """Whether the session has any value of this series."""
        return any(self.of_sample(sample) for sample in recording.samples if sample.phase is self.phase)

    def by_block(self, recording: Recording, statistic: Statistic | None = None) -> dict[int, tuple[float, ...]]:
        """The same values by the block they were taken in, blocks in order; a block without values is absent.

        For a `statistic` those that calls count with in a verdict.
        """
        blocks: dict[int, list[float]] = {}
        for sample in recording.of_phase(self.phase):
            values = self.of_sample(sample) if statistic is None else self.of_call(sample, statistic)
            blocks.setdefault(sample.block, []).extend(values)
        return {block: tuple(values) for block, values in blocks.items() if values}

    @property
    def is_device(self) -> bool:
        """Whether the device's own clock took the times."""
        return self.name.endswith(DEVICE_SUFFIX)

    @property
    def sibling(self) -> str:
        """The name of the same quantity by the other clock; of a series that only the host has, its own name."""
        other = self.name.removesuffix(DEVICE_SUFFIX) if self.is_device else self.name + DEVICE_SUFFIX
        return other if other in SERIES else self.name


DEVICE_SUFFIX = "_device"


def _one(value: float | None) -> tuple[float, ...]:
    return () if value is None else (value,)


_LOWER = Direction.LOWER_IS_BETTER
_SERIES = (
    ("ttft", "TTFT", Phase.PREFILL, lambda s: (s.ttft_ns,)),
    ("ttft_device", "TTFT on the device", Phase.PREFILL, lambda s: _one(s.ttft_device_ns)),
    ("tpot", "TPOT", Phase.DECODE, lambda s: _one(s.tpot_ns)),
    ("tpot_device", "TPOT on the device", Phase.DECODE, lambda s: _one(s.tpot_device_ns)),
    ("itl", "ITL", Phase.DECODE, lambda s: s.itl_ns or ()),
    ("icl", "ICL", Phase.DECODE, lambda s: s.icl_ns),
    ("e2e", "E2E", Phase.DECODE, lambda s: (s.e2e_ns,)),
)
SERIES: Mapping[str, Series] = MappingProxyType(
    {
        name: Series(name=name, label=label, phase=phase, direction=_LOWER, of_request=of_request)
        for name, label, phase, of_request in _SERIES
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number a gate can judge: a statistic of a series, written 'ttft.p99'."""

    series: str
    statistic: Statistic

    @property
    def key(self) -> str:
        return f"{self.series}.{self.statistic.value}"

    @property
    def rank(self) -> tuple[int, int]:
        """Where it stands in reports: TTFT first, the median before the tails."""
        return list(SERIES).index(self.series), list(Statistic).index(self.statistic)

    @property
    def label(self) -> str:
        """'TTFT P50'."""
        return f"{SERIES[self.series].label} {self.statistic.value.upper() if self.statistic.probability else 'mean'}"

    @property
    def direction(self) -> Direction:
        return SERIES[self.series].direction


def parse_metric(text: str, *, where: str) -> Metric:
    """The metric that 'ttft.p50' names; OptionError lists what exists."""
    series, _, statistic = text.strip().partition(".")
    names = {s.value for s in Statistic}
    if series not in SERIES or statistic not in names:
        raise OptionError(
            f"{where}: {text.strip()!r} is not a metric; write SERIES.STATISTIC with a series of {', '.join(SERIES)} "
            f"and a statistic of {', '.join(s.value for s in Statistic)}, for example 'ttft.p50'"
        )
    return Metric(series=series, statistic=Statistic(statistic))
