"""Owns the rules by which readings of the machine tell when it was disturbed, and by what (docs/monitoring.md).

Each is a pure function of readings; from which value on it finds something stands in one table, with the reason.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from statistics import median
from types import MappingProxyType

from perfsuite.core.reading import DeviceReading, HostReading, Monitoring, Place
from perfsuite.core.units import NS_PER_S, format_seconds, format_share

IDLE, POWER_CAP, SLOWDOWN = 0x1, 0x4, 0x8
SOFTWARE_THERMAL, HARDWARE_THERMAL, POWER_BRAKE = 0x20, 0x40, 0x80
"""NVML's clock event reasons (nvmlClocksEventReasons)."""
THROTTLES = MappingProxyType(
    {
        HARDWARE_THERMAL: "the hardware lowered the clocks, as the GPU was too hot",
        POWER_BRAKE: "the hardware lowered the clocks, as the power supply asked for it (power brake)",
        SLOWDOWN: "the hardware lowered the clocks (hardware slowdown)",
        SOFTWARE_THERMAL: "the driver lowered the clocks, as the GPU or its memory was too hot",
    }
)


class Cause(Enum):
    """What can disturb a machine while it is measured."""

    THROTTLE = "throttle"
    CLOCK = "clock"
    PROCESS = "foreign process"
    STOPPED = "stopped"
    STALLED = "stalled"
    SWAP = "swap"
    QUOTA = "quota"
    STEAL = "steal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """From which value on a cause is found, and why this one."""

    limit: float
    why: str


THRESHOLDS: Mapping[Cause, Threshold] = MappingProxyType(
    {
        Cause.THROTTLE: Threshold(
            limit=1,
            why="one reading: these clocks are an emergency. The software's power cap is none, long prefills run at it",
        ),
        Cause.CLOCK: Threshold(
            limit=0.05,
            why="off the median; steps of a steady clock are below 1 %, and 5 % is the tolerance of a median",
        ),
        Cause.PROCESS: Threshold(
            limit=0.02, why="of the multiprocessors; less is a process that only holds memory. Unknown use counts"
        ),
        Cause.STOPPED: Threshold(limit=1, why="one reading: a stopped process measures its pause"),
        Cause.STALLED: Threshold(
            limit=1.0, why="seconds without a reading; a busy host delays the sampler by tenths, a frozen one by more"
        ),
        Cause.SWAP: Threshold(limit=1, why="one page that the measured process waited for while the host swapped in"),
        Cause.QUOTA: Threshold(limit=0.1, why="of the time held back; a tenth is twice the tolerance of a median"),
        Cause.STEAL: Threshold(
            limit=0.2, why="of all cores' time; some percent are usual on shared hosts, and canaries see those"
        ),
    }
)
RECOVERY = 3
"""So many readings before and after one at the power cap say nothing of the clock: it takes its time to recover."""
LEAST_READINGS = 5
"""Fewer readings of a clock have no median worth the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """From when to when something disturbed the machine, in the words of a finding."""

    begin_ns: int
    end_ns: int
    cause: Cause
    detail: str


def _joined(found: Iterable[Stretch]) -> list[Stretch]:
    """Stretches that follow each other without a gap are one."""
    joined: list[Stretch] = []
    for stretch in found:
        if joined and stretch.begin_ns <= joined[-1].end_ns:
            joined[-1] = replace(joined[-1], end_ns=max(joined[-1].end_ns, stretch.end_ns))
        else:
            joined.append(stretch)
    return joined


def _around(reading: DeviceReading | HostReading, cause: Cause, detail: str) -> Stretch:
    """What a reading shows may have begun after the one before and last until the next."""
    begin_ns, end_ns = reading.at_ns - reading.span_ns, reading.at_ns + reading.span_ns
    return Stretch(begin_ns=begin_ns, end_ns=end_ns, cause=cause, detail=detail)


def _before(reading: DeviceReading | HostReading, cause: Cause, detail: str) -> Stretch:
    """What happened during a reading's span."""
    return Stretch(begin_ns=reading.at_ns - reading.span_ns, end_ns=reading.at_ns, cause=cause, detail=detail)


def throttled(monitoring: Monitoring) -> Iterator[Stretch]:
    """Clocks lowered by heat, by the hardware or by the power supply; never by the software's power cap."""
    for reading in monitoring.device:
        told = next((words for bit, words in THROTTLES.items() if (reading.reasons or 0) & bit), None)
        if told:
            yield _around(reading, Cause.THROTTLE, told)


def steady(readings: Sequence[DeviceReading]) -> list[DeviceReading]:
    """Those whose SM clock nothing usual lowered: neither idleness nor the power cap, in them or close by."""
    usual = [(reading.reasons or 0) & (IDLE | POWER_CAP) != 0 for reading in readings]
    beside = [any(usual[max(0, index - RECOVERY) : index + RECOVERY + 1]) for index in range(len(usual))]
    pairs = zip(readings, beside, strict=True)
    return [reading for reading, is_usual in pairs if reading.sm_mhz and reading.reasons is not None and not is_usual]


def wandering(monitoring: Monitoring) -> Iterator[Stretch]:
    """An SM clock that left its median though neither idleness nor the power cap explains it."""
    readings = steady(monitoring.device)
    if len(readings) < LEAST_READINGS:
        return
    usual = median(reading.sm_mhz or 0 for reading in readings)
    for reading in readings:
        if abs((reading.sm_mhz or 0) / usual - 1) > THRESHOLDS[Cause.CLOCK].limit:
            yield _around(
                reading, Cause.CLOCK, f"the SM clock was at {reading.sm_mhz} MHz, {usual:g} MHz are usual here"
            )


def shared(monitoring: Monitoring) -> Iterator[Stretch]:
    """Another process on the GPU."""
    for other in monitoring.neighbours:
        if other.place is Place.DEVICE and (other.share is None or other.share >= THRESHOLDS[Cause.PROCESS].limit):
            named = f"process {other.pid}" + (f" ({other.name})" if other.name else "")
            use = "was on the GPU" if other.share is None else f"used {format_share(other.share)} of the GPU"
            begin_ns = other.at_ns - other.span_ns
            yield Stretch(begin_ns=begin_ns, end_ns=other.at_ns, cause=Cause.PROCESS, detail=f"{named} {use}")


def stopped(monitoring: Monitoring) -> Iterator[Stretch]:
    for reading in monitoring.host:
        if reading.is_stopped:
            yield _around(reading, Cause.STOPPED, "the measured process was stopped")


def stalled(monitoring: Monitoring) -> Iterator[Stretch]:
    """A sampler that was late: something held up the whole machine, or at least it."""
    for reading in monitoring.host or monitoring.device:
        if reading.span_ns >= THRESHOLDS[Cause.STALLED].limit * NS_PER_S:
            yield _before(reading, Cause.STALLED, f"the sampler stood still for {format_seconds(reading.span_ns)}")


def swapping(monitoring: Monitoring) -> Iterator[Stretch]:
    for reading in monitoring.host:
        if reading.swapped_in and (reading.waited_pages or 0) >= THRESHOLDS[Cause.SWAP].limit:
            yield _before(reading, Cause.SWAP, "the measured process waited for memory that was swapped out")


def held_back(monitoring: Monitoring) -> Iterator[Stretch]:
    """A control group that had used up its share of the processors."""
    for reading in monitoring.host:
        share = (reading.throttled_ns or 0) / max(1, reading.span_ns)
        if share >= THRESHOLDS[Cause.QUOTA].limit:
            yield _before(reading, Cause.QUOTA, "the control group's CPU quota held the host's processes back")


def stolen(monitoring: Monitoring) -> Iterator[Stretch]:
    """Time that the hypervisor gave to other machines."""
    for reading in monitoring.host:
        share = (reading.steal_ns or 0) / max(1, reading.span_ns * reading.cores)
        if share >= THRESHOLDS[Cause.STEAL].limit:
            yield _before(reading, Cause.STEAL, f"the hypervisor took {format_share(share)} of the processors' time")


RULES: tuple[Callable[[Monitoring], Iterator[Stretch]], ...] = (
    shared,
    throttled,
    wandering,
    stopped,
    stalled,
    swapping,
    held_back,
    stolen,
)


def stretches(monitoring: Monitoring) -> tuple[Stretch, ...]:
    """All that disturbed the machine, by cause in the order of the rules."""
    return tuple(stretch for rule in RULES for stretch in _joined(rule(monitoring)))
