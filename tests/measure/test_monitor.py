"""The sampler's readings of a GPU, from a library that answers as the test says."""

from itertools import count
from types import SimpleNamespace
from typing import Any

from perfsuite.core.reading import Place
from perfsuite.measure.monitor import ROUND, DeviceWatch
from perfsuite.measure.nvml import Device
from tests.watched import STEP_NS, FakeNvml, process, usage


def watch(own: tuple[int, ...] = (100,), **answers: Any) -> DeviceWatch:
    used = count(1000, 50)
    known: dict[str, Any] = {
        "nvmlDeviceGetClockInfo": 1980,
        "nvmlDeviceGetCurrentClocksThrottleReasons": 0,
        "nvmlDeviceGetTotalEnergyConsumption": lambda _: next(used),
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=2**30),
        "nvmlDeviceGetComputeRunningProcesses": [process(100, 2**20)],
        "nvmlDeviceGetProcessUtilization": [],
    }
    return DeviceWatch(Device(FakeNvml(**{**known, **answers}), "GPU-1"), 0, frozenset(own), None)


def test_energy_is_what_was_consumed_since_the_reading_before() -> None:
    watched = watch()
    assert [watched.read(STEP_NS * index).energy_mj for index in (1, 2)] == [50, 50]
    assert watched.read(5 * STEP_NS).span_ns == 3 * STEP_NS


def test_the_memory_of_the_measured_process_is_its_own_share() -> None:
    watched = watch()
    watched.neighbours(STEP_NS)
    reading = watched.read(STEP_NS)
    assert (reading.own_memory, reading.memory_used) == (2**20, 2**30)


def test_a_foreign_process_that_computes_is_a_neighbour_with_its_share() -> None:
    watched = watch(
        nvmlDeviceGetComputeRunningProcesses=[process(100), process(4242)],
        nvmlDeviceGetProcessUtilization=[usage(100, 30), usage(4242, 63)],
        nvmlSystemGetProcessName="burn",
    )
    (found,) = watched.neighbours(5 * STEP_NS)
    assert (found.place, found.pid, found.name, found.share) == (Place.DEVICE, 4242, "burn", 0.63)
    assert (found.at_ns, found.span_ns) == (5 * STEP_NS, 5 * STEP_NS)


def test_a_foreign_process_that_only_holds_memory_is_none() -> None:
    held = [process(100), process(4242)]
    told = watch(nvmlDeviceGetComputeRunningProcesses=held, nvmlDeviceGetProcessUtilization=[usage(100, 90)])
    assert told.neighbours(STEP_NS) == ()


def test_a_driver_that_tells_nothing_of_the_measured_process_is_not_believed_about_others() -> None:
    held = [process(100), process(4242)]
    for told in ([], [usage(900001, 90)]):
        watched = watch(nvmlDeviceGetComputeRunningProcesses=held, nvmlDeviceGetProcessUtilization=told)
        assert [(found.pid, found.share) for found in watched.neighbours(STEP_NS)] == [(4242, None)]


def test_a_foreign_process_of_which_nobody_tells_the_use_is_a_neighbour() -> None:
    held = [process(100), process(4242)]
    watched = watch(nvmlDeviceGetComputeRunningProcesses=held, nvmlDeviceGetProcessUtilization=_not_supported())
    assert [(found.pid, found.share) for found in watched.neighbours(STEP_NS)] == [(4242, None)]


def _not_supported() -> Exception:
    return FakeNvml.NVMLError(FakeNvml.NVML_ERROR_NOT_SUPPORTED)


def test_who_is_on_the_gpu_is_not_asked_with_every_reading() -> None:
    library = FakeNvml(nvmlDeviceGetComputeRunningProcesses=[process(100)])
    watched = DeviceWatch(Device(library, "GPU-1"), 0, frozenset({100}), None)
    for index in range(2 * ROUND):
        watched.neighbours(index * STEP_NS)
    assert library.asked.count("nvmlDeviceGetComputeRunningProcesses") == 2
