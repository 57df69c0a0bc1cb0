"""Owns readings of a machine for tests, and a library that stands in for pynvml."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from perfsuite.core.reading import DeviceReading, HostReading, Monitoring, Neighbour, Place

STEP_NS = 100_000_000
"""A tenth of a second between two readings, as the sampler takes them."""
USUAL_MHZ = 1980


def device_readings(
    mhz: Sequence[int] = (USUAL_MHZ,) * 10, reasons: Mapping[int, int] | None = None, **rest: Any
) -> Any:
    """A reading every tenth of a second, the first at 0.1 s; `reasons` by the index of the reading, else none set."""
    return tuple(
        DeviceReading(
            at_ns=(index + 1) * STEP_NS, span_ns=STEP_NS, sm_mhz=clock, reasons=(reasons or {}).get(index, 0), **rest
        )
        for index, clock in enumerate(mhz)
    )


def host_readings(count: int = 10, changes: Mapping[int, Mapping[str, Any]] | None = None) -> tuple[HostReading, ...]:
    """A calm host of two cores; `changes` by the index of the reading."""
    calm = {"cores": 2, "load": 0.5, "busy_ns": STEP_NS, "own_ns": STEP_NS, "steal_ns": 0, "throttled_ns": 0}
    calm |= {"swapped_in": 0, "waited_pages": 0}
    return tuple(
        HostReading(**{"at_ns": (index + 1) * STEP_NS, "span_ns": STEP_NS, **calm, **(changes or {}).get(index, {})})
        for index in range(count)
    )


def neighbour(
    at_ns: int = 5 * STEP_NS, *, place: Place = Place.DEVICE, share: float | None = 0.63, pid: int = 4242
) -> Neighbour:
    """Somebody else, seen for half a second up to `at_ns`."""
    return Neighbour(at_ns=at_ns, span_ns=5 * STEP_NS, place=place, pid=pid, name="burn", share=share)


def calm_monitoring() -> Monitoring:
    return Monitoring(device=device_readings(), host=host_readings())


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


class FakeNvml:
    """What `answers` says by the names of NVML's functions; what is missing there is not supported."""

    NVMLError = NVMLError
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0
    NVML_SUCCESS, NVML_ERROR_NOT_FOUND = 0, 6
    NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_NO_PERMISSION, NVML_ERROR_FUNCTION_NOT_FOUND = 3, 4, 13

    def __init__(self, **answers: Any) -> None:
        self.answers = {"nvmlDeviceGetHandleByUUID": "handle", **answers}
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)

        def answer(*arguments: Any) -> Any:
            self.asked.append(name)
            found = self.answers.get(name, NVMLError(self.NVML_ERROR_NOT_SUPPORTED))
            found = found(*arguments) if callable(found) else found
            if isinstance(found, Exception):
                raise found
            return found

        return answer


def process(pid: int, used: int | None = None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=used)


def usage(pid: int, percent: int, at_us: int = 1) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, smUtil=percent, timeStamp=at_us)
