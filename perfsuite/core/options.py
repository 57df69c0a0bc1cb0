"""Owns what a run was asked to do, already validated; it knows neither argv nor ini files, only their texts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from perfsuite.core.errors import OptionError
from perfsuite.core.metrics import Metric, Statistic, parse_metric
from perfsuite.core.resources import RESOURCES
from perfsuite.core.throughput import Objective
from perfsuite.core.units import parse_duration, parse_percent
from perfsuite.core.workload import DEFAULT_SAMPLING, ModelSpec, SamplingParams

DEFAULT_PROMPT_LENGTHS = (10, 50, 100, 150, 200, 250, 300, 350, 400)

DEFAULT_TOLERANCES: Mapping[Metric, float] = MappingProxyType(
    {
        Metric(series="ttft", statistic=Statistic.P50): 0.05,
        Metric(series="ttft", statistic=Statistic.P99): 0.10,
        Metric(series="ttft_device", statistic=Statistic.P50): 0.02,
        Metric(series="tpot", statistic=Statistic.P50): 0.05,
        Metric(series="tpot_device", statistic=Statistic.P50): 0.02,
        Metric(series="e2e", statistic=Statistic.P50): 0.05,
    }
)
"""The slowdown that must not get through, per gated metric.

5 % for the median, 10 % for a tail, 2 % for what the device times itself (and only where there is a device)."""

MOST_SLOWDOWN = 100
"""A request that takes 100 times as long is slow enough to prove anything."""

DEFAULT_RESOURCES: Mapping[str, float] = MappingProxyType({"memory": 0.02})
"""The same for memory and energy: a peak is nearly deterministic; energy is gated where a tolerance is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOptions:
    """How one session measures a cell.

    `samples` one-token requests for TTFT and `decode_samples` full ones for TPOT, ITL and E2E, taken in blocks of at
    most `block_size`; `warmup` requests of each kind before them. `injected_slowdown` 0.1 makes every event of the
    strategy 10 % later, to prove that the gate sees it: by waiting on the host, or with `slow_device` by real work on
    the device. `silence_ns` is how long a session may say nothing before it counts as hung, `phase_silence_ns` the same
    for the phases that it names. Without `monitor` nobody watches the machine meanwhile.
    """

    samples: int = 320
    decode_samples: int = 10
    block_size: int = 20
    warmup: int = 10
    injected_slowdown: float = 0.0
    slow_device: bool = False
    silence_ns: int = 600 * 10**9
    phase_silence_ns: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    monitor: bool = True

    def __post_init__(self) -> None:
        for name in ("samples", "decode_samples", "block_size"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name}: {getattr(self, name)} is not allowed; it must be 1 or above")
        if self.warmup < 0:
            raise OptionError(f"warmup: {self.warmup} is not allowed; it must be 0 or above")

    def silence_of(self, phase: str) -> int:
        """Nanoseconds that a session may say nothing in a phase ('load', 'compile', 'warm-up', 'measure').

        One that is named counts for phases that begin with its words, too: 'compile' for 'compile and capture'.
        """
        words = phase.split(" ")
        beginnings = (" ".join(words[:count]) for count in range(len(words), 0, -1))
        named = (self.phase_silence_ns[each] for each in beginnings if each in self.phase_silence_ns)
        return next(named, self.silence_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions:
    """How verdicts are reached.

    `sessions` is how many sessions a cell gets at most (the looks of the sequential rule) when judging, `twin_sessions`
    the same where versions take turns; `baseline_sessions` how many `--save-baseline` takes. `family_error` is the
    accepted chance that a whole run on identical code has one false alarm. `ignored_environment` names keys that need
    not agree.
    """

    tolerances: Mapping[Metric, float] = field(default_factory=lambda: DEFAULT_TOLERANCES)
    resources: Mapping[str, float] = field(default_factory=lambda: DEFAULT_RESOURCES)
    sessions: int = 6
    twin_sessions: int = 12
    baseline_sessions: int = 8
    budget_ns: int | None = None
    family_error: float = 0.001
    strict: bool = False
    ignored_environment: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if min(self.sessions, self.twin_sessions, self.baseline_sessions) < 1:
            raise OptionError("sessions: at least one session is needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The default matrix of a run, and how it is measured and judged; `objectives` are those of goodput."""

    strategies: tuple[str, ...] = ("eager",)
    models: tuple[ModelSpec, ...] = (ModelSpec(name="tiny"),)
    prompt_lengths: tuple[int, ...] = DEFAULT_PROMPT_LENGTHS
    output_tokens: int = 32
    batch_size: int = 1
    sampling: SamplingParams = DEFAULT_SAMPLING
    seed: int = 0
    measure: MeasureOptions = MeasureOptions()
    gate: GateOptions = GateOptions()
    save_baseline: bool = False
    objectives: tuple[Objective, ...] = ()


def parse_lengths(text: str, *, where: str) -> tuple[int, ...]:
    """Prompt lengths from '10,50,100', ascending; duplicates, blanks and numbers below 1 are refused."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise OptionError(f"{where}: {text!r} is not a list of lengths; write whole numbers from 1 up, '10,50,100'")
    lengths = sorted(int(part) for part in parts)
    if len(set(lengths)) != len(lengths):
        raise OptionError(f"{where}: {text!r} names a length twice")
    return tuple(lengths)


def parse_tolerances(text: str, *, where: str) -> dict[Metric, float]:
    """Tolerances from 'ttft.p50=5%,ttft.p99=10%'; 'off' instead of a percentage takes a metric out (value 0)."""
    named = _amounts(text, where)
    return {parse_metric(name, where=where): amount for name, amount in named.items() if name not in RESOURCES}


def parse_resources(text: str, *, where: str) -> dict[str, float]:
    """The tolerances of 'memory', 'energy' and 'throughput' among those of the same text, written alike."""
    return {name: amount for name, amount in _amounts(text, where).items() if name in RESOURCES}


def _amounts(text: str, where: str) -> dict[str, float]:
    result: dict[str, float] = {}
    for part in text.split(","):
        name, equals, amount = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise OptionError(f"{where}: {part.strip()!r} has no '='; write METRIC=PERCENT, for example 'ttft.p50=5%'")
        key = name if name in RESOURCES else _metric(name, where).key
        if key in result:
            raise OptionError(f"{where}: {key!r} is given twice")
        result[key] = 0.0 if amount == "off" else parse_percent(amount, where=f"{where} ({key})")
        if result[key] > 1:
            raise OptionError(f"{where} ({key}): {amount!r} is not allowed; it must be 100% or less")
    return result


def _metric(name: str, where: str) -> Metric:
    try:
        return parse_metric(name, where=where)
    except OptionError as error:
        raise OptionError(f"{error}, or {', '.join(RESOURCES)}") from error


def parse_timeouts(text: str, *, where: str) -> tuple[int, dict[str, int]]:
    """Nanoseconds from '10m,compile=1h': for any phase, and for those that are named."""
    named: dict[str, int] = {}
    rest: list[int] = []
    for part in text.split(","):
        phase, equals, duration = (piece.strip() for piece in part.rpartition("="))
        if equals and (not phase or phase in named):
            raise OptionError(f"{where}: {part.strip()!r} names no phase, or one twice; write '10m,compile=1h'")
        silence_ns = parse_duration(duration, where=where)
        if equals:
            named[phase] = silence_ns
        else:
            rest.append(silence_ns)
    if len(rest) > 1:
        raise OptionError(f"{where}: {text!r} has two times for all phases; write '10m,compile=1h'")
    return rest[0] if rest else MeasureOptions().silence_ns, named


def parse_slowdown(text: str, *, where: str) -> tuple[float, bool]:
    """'10%' or 'host:10%' is a slowdown on the host, 'device:5%' one on the device: the fraction, and which it is."""
    place, colon, amount = text.rpartition(":")
    if colon and place.strip() not in ("host", "device"):
        raise OptionError(f"{where}: {text!r} is not a slowdown; write '10%', 'host:10%' or 'device:10%'")
    slowdown = parse_percent(amount, where=where)
    if slowdown > MOST_SLOWDOWN:
        raise OptionError(f"{where}: {amount.strip()!r} is not allowed; it must be {MOST_SLOWDOWN:.0%} or below")
    return slowdown, place.strip() == "device"


Key = TypeVar("Key", Metric, str)


def merge_tolerances(base: Mapping[Key, float], changes: Mapping[Key, float]) -> dict[Key, float]:
    """`base` with `changes` laid over it; a change to 0 takes the metric out of the gate."""
    return {metric: tolerance for metric, tolerance in {**base, **changes}.items() if tolerance > 0}
