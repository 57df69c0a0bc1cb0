"""Owns what NVIDIA's driver tells of a GPU (NVML through nvidia-ml-py): its state, its settings, who is on it.

Every question is guarded by itself: what a driver, a container or a missing right does not answer is `None`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

MIG_ON = 1
MILLIWATTS = 1000


class NvmlError(Exception):
    """NVML does not work here; the text is one phrase that says why."""


@contextmanager
def opened_library() -> Iterator[Any]:
    """The module pynvml, initialized; NvmlError if there is no driver, no library or no right to use it."""
    try:
        import pynvml
    except ImportError as error:
        raise NvmlError("the package nvidia-ml-py is not installed") from error
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError, OSError) as error:
        raise NvmlError(f"NVML does not work here ({error})") from error
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """One look at a GPU, units as in `core.reading.DeviceReading`; `energy_mj` counts since the driver was loaded."""

    sm_mhz: int | None
    memory_mhz: int | None
    reasons: int | None
    temperature_c: int | None
    power_mw: int | None
    energy_mj: int | None
    memory_used: int | None
    busy_share: float | None


class Device:
    """One GPU of an initialized library, by its UUID ('GPU-…' or 'MIG-…'); NvmlError if there is no such."""

    def __init__(self, library: Any, uuid: str) -> None:
        self._nvml = library
        self._dead: set[str] = set()
        self._told_us = 0
        try:
            self._handle = library.nvmlDeviceGetHandleByUUID(uuid)
        except library.NVMLError as error:
            raise NvmlError(f"NVML does not know the GPU {uuid} ({error})") from error

    def state(self) -> DeviceState:
        nvml, handle = self._nvml, self._handle
        usage = self._ask("utilisation", lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        return DeviceState(
            sm_mhz=self._ask("sm", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            memory_mhz=self._ask("memory clock", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
            reasons=self._ask("reasons", lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
            temperature_c=self._ask(
                "temperature", lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
            ),
            power_mw=self._ask("power", lambda: nvml.nvmlDeviceGetPowerUsage(handle)),
            energy_mj=self._ask("energy", lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle)),
            memory_used=self.memory_used(),
            busy_share=None if usage is None else usage / 100,
        )

    def memory_used(self) -> int | None:
        """Bytes in use by everybody, the driver's own share included."""
        return self._ask("memory", lambda: self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used)

    def processes(self) -> dict[int, int | None] | None:
        """Bytes by the id of every process that computes on it, ids as the driver counts them."""
        found = self._raw("processes", lambda: self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle))
        return None if found is None else {int(each.pid): _whole(each.usedGpuMemory) for each in found}

    def usage(self) -> dict[int, float] | None:
        """The largest share of the multiprocessors that each process used since the question before.

        `None` where nobody tells; a process that is absent used nothing.
        """
        nvml = self._nvml
        if "usage" in self._dead:
            return None
        try:
            samples = nvml.nvmlDeviceGetProcessUtilization(self._handle, self._told_us)
        except nvml.NVMLError as error:
            if getattr(error, "value", None) in (nvml.NVML_ERROR_NOT_FOUND, nvml.NVML_SUCCESS):
                return {}  # nothing since then
            if self._is_for_good(error):
                self._dead.add("usage")
            return None
        self._told_us = max((int(sample.timeStamp) for sample in samples), default=self._told_us)
        shares: dict[int, float] = {}
        for sample in samples:
            shares[int(sample.pid)] = max(shares.get(int(sample.pid), 0.0), sample.smUtil / 100)
        return shares

    def name_of(self, pid: int) -> str:
        """The process' file name as the driver knows it, '' where it does not."""
        name = self._raw(f"name of {pid}", lambda: self._nvml.nvmlSystemGetProcessName(pid))
        text = bytes(name).decode(errors="replace") if isinstance(name, bytes) else str(name or "")
        return text.split()[0].rpartition("/")[2] if text.split() else ""

    def settings(self) -> dict[str, str]:
        """What somebody has set: power limit, MIG, ECC; a setting that the device does not have is absent."""
        nvml, handle = self._nvml, self._handle
        limit = self._ask("limit", lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
        mig = self._ask("mig", lambda: nvml.nvmlDeviceGetMigMode(handle)[0])
        ecc = self._ask("ecc", lambda: nvml.nvmlDeviceGetEccMode(handle)[0])
        found = {
            "power limit": None if limit is None else f"{limit / MILLIWATTS:.0f} W",
            "mig": None if mig is None else "on" if mig == MIG_ON else "off",
            "ecc": None if ecc is None else "on" if ecc else "off",
        }
        return {name: text for name, text in found.items() if text is not None}

    def memory_total(self) -> int | None:
        return self._ask("total", lambda: self._nvml.nvmlDeviceGetMemoryInfo(self._handle).total)

    def _ask(self, what: str, question: Callable[[], Any]) -> int | None:
        return _whole(self._raw(what, question))

    def _raw(self, what: str, question: Callable[[], Any]) -> Any:
        """The answer; what was refused once is not asked again, since a question costs the driver's lock."""
        if what in self._dead:
            return None
        try:
            return question()
        except self._nvml.NVMLError as error:
            if self._is_for_good(error):
                self._dead.add(what)
            return None

    def _is_for_good(self, error: Exception) -> bool:
        nvml = self._nvml
        lasting = (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_NO_PERMISSION, nvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        return getattr(error, "value", None) in lasting


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int) else None


def driver_version() -> str:
    """The NVIDIA driver's version, 'unknown' where NVML does not tell it."""
    try:
        with opened_library() as nvml:
            version = nvml.nvmlSystemGetDriverVersion()
    except NvmlError:
        return "unknown"
    except nvml.NVMLError:
        return "unknown"
    return version if isinstance(version, str) else bytes(version).decode()


def uuids() -> tuple[str, ...]:
    """Every GPU that NVML knows here, none without NVML."""
    try:
        with opened_library() as nvml:
            count = int(nvml.nvmlDeviceGetCount())
            found = [nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index)) for index in range(count)]
    except NvmlError:
        return ()
    except nvml.NVMLError:
        return ()
    return tuple(each if isinstance(each, str) else bytes(each).decode() for each in found)


def look(uuid: str, question: Callable[[Device], Any]) -> Any:
    """What `question` finds out of the GPU; `None` where NVML does not answer."""
    try:
        with opened_library() as nvml:
            return question(Device(nvml, uuid))
    except NvmlError:
        return None
