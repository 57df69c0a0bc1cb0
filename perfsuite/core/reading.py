"""Owns what a monitor saw of the machine: a device's state, the host's, and which other processes were busy.

Every reading stands for the time since the one before it, `span_ns`; `at_ns` is on the clock that stamps the samples.
"""

from dataclasses import dataclass
from enum import Enum


class Place(Enum):
    """Where a neighbour was busy."""

    DEVICE = "device"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReading:
    """A GPU as its driver describes it (NVML); `None` is what the driver does not tell here.

    Clocks in MHz. `reasons` are NVML's bits of why the clocks are lower than they could be. `energy_mj` is what was
    consumed during the span. Memory in bytes: all that is in use, and what the measured process and its children hold.
    `busy_share` is the share of time in which any kernel ran.
    """

    at_ns: int
    span_ns: int
    sm_mhz: int | None = None
    memory_mhz: int | None = None
    reasons: int | None = None
    temperature_c: int | None = None
    power_mw: int | None = None
    energy_mj: int | None = None
    memory_used: int | None = None
    own_memory: int | None = None
    busy_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReading:
    """The host as its kernel describes it; `None` is what it does not tell here.

    `load` is the average of a minute, `cpu_mhz` the mean over the cores. Times are sums over all cores during the span:
    `busy_ns` of everything, `own_ns` of the measured process, `steal_ns` what the hypervisor gave to others.
    `throttled_ns` is how long the control group was held back by its quota, `swapped_in` counts pages, `waited_pages`
    those that the measured process waited for. `is_stopped` says that the measured process was (SIGSTOP, a debugger).
    """

    at_ns: int
    span_ns: int
    cores: int = 1
    load: float | None = None
    cpu_mhz: float | None = None
    busy_ns: int | None = None
    own_ns: int | None = None
    steal_ns: int | None = None
    throttled_ns: int | None = None
    swapped_in: int | None = None
    waited_pages: int | None = None
    is_stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """Another process that was busy during the span: `share` of the GPU, or of one core (2.0: two of them).

    `None` where it holds the device and nobody tells how much it uses it.
    """

    at_ns: int
    span_ns: int
    place: Place
    pid: int
    name: str
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """What was seen beside one recording; `not_monitored` says in a phrase each what could not be."""

    device: tuple[DeviceReading, ...] = ()
    host: tuple[HostReading, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    not_monitored: tuple[str, ...] = ()

    def between(self, windows: tuple[tuple[int, int], ...]) -> "Monitoring":
        """What was seen while one of the windows (begin, end; in order) was open."""

        def seen(reading: DeviceReading | HostReading | Neighbour) -> bool:
            began_ns = reading.at_ns - reading.span_ns
            return any(began_ns < end and reading.at_ns > begin for begin, end in windows)

        return Monitoring(
            device=tuple(filter(seen, self.device)),
            host=tuple(filter(seen, self.host)),
            neighbours=tuple(filter(seen, self.neighbours)),
            not_monitored=self.not_monitored,
        )
