"""What NVML tells, from a library that answers as the test says; no driver is needed."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from perfsuite.measure import nvml
from perfsuite.measure.nvml import Device, DeviceState, NvmlError
from tests.watched import FakeNvml, NVMLError, process, usage

H100: dict[str, Any] = {
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=97, memory=40),
    "nvmlDeviceGetClockInfo": lambda _, kind: 1980 if kind == FakeNvml.NVML_CLOCK_SM else 2619,
    "nvmlDeviceGetCurrentClocksThrottleReasons": 4,
    "nvmlDeviceGetTemperature": 61,
    "nvmlDeviceGetPowerUsage": 690_000,
    "nvmlDeviceGetTotalEnergyConsumption": 123_456,
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=14 * 2**30, total=80 * 2**30),
}


def device(**answers: Any) -> Device:
    return Device(FakeNvml(**answers), "GPU-1")


def test_the_state_of_a_gpu_is_read_in_one_look() -> None:
    assert device(**H100).state() == DeviceState(
        sm_mhz=1980,
        memory_mhz=2619,
        reasons=4,
        temperature_c=61,
        power_mw=690_000,
        energy_mj=123_456,
        memory_used=14 * 2**30,
        busy_share=0.97,
    )


def test_what_the_driver_does_not_support_is_none_and_not_asked_again() -> None:
    library = FakeNvml(**{**H100, "nvmlDeviceGetTotalEnergyConsumption": NVMLError(3)})
    gpu = Device(library, "GPU-1")
    assert [gpu.state().energy_mj, gpu.state().energy_mj] == [None, None]
    assert library.asked.count("nvmlDeviceGetTotalEnergyConsumption") == 1


def test_an_answer_that_failed_once_is_asked_for_again() -> None:
    answers = iter([NVMLError(999), 5])
    gpu = device(**{**H100, "nvmlDeviceGetPowerUsage": lambda _: next(answers)})
    assert [gpu.state().power_mw, gpu.state().power_mw] == [None, 5]


def test_a_gpu_that_nvml_does_not_know_is_an_error_in_one_phrase() -> None:
    with pytest.raises(NvmlError, match="NVML does not know the GPU GPU-1"):
        device(nvmlDeviceGetHandleByUUID=NVMLError(6))


def test_processes_come_with_their_memory_where_it_is_told() -> None:
    assert device(nvmlDeviceGetComputeRunningProcesses=[process(7, 100), process(8)]).processes() == {7: 100, 8: None}
    assert device().processes() is None


def test_the_use_of_a_process_is_its_largest_since_the_question_before() -> None:
    asked: list[int] = []

    def answer(_: object, since_us: int) -> list[Any]:
        asked.append(since_us)
        return [usage(7, 20, at_us=100), usage(7, 63, at_us=300), usage(8, 1, at_us=200)]

    gpu = device(nvmlDeviceGetProcessUtilization=answer)
    assert gpu.usage() == {7: 0.63, 8: 0.01}
    gpu.usage()
    assert asked == [0, 300]


def test_no_use_since_then_is_told_apart_from_a_driver_that_does_not_tell() -> None:
    assert device(nvmlDeviceGetProcessUtilization=NVMLError(6)).usage() == {}
    assert device().usage() is None


@pytest.mark.parametrize(
    ("name", "told"), [(b"/usr/bin/python3 -c x", "python3"), ("burn", "burn"), (NVMLError(4), "")]
)
def test_a_process_is_named_by_its_file(name: object, told: str) -> None:
    assert device(nvmlSystemGetProcessName=name).name_of(7) == told


def test_settings_are_told_as_far_as_the_device_has_them() -> None:
    gpu = device(nvmlDeviceGetEnforcedPowerLimit=700_000, nvmlDeviceGetMigMode=[0, 0], nvmlDeviceGetEccMode=[1, 1])
    assert gpu.settings() == {"power limit": "700 W", "mig": "off", "ecc": "on"}
    assert device().settings() == {}


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml(
        nvmlInit=None,
        nvmlShutdown=None,
        nvmlDeviceGetCount=2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}",
        nvmlSystemGetDriverVersion="580.159",
        **H100,
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def test_the_gpus_of_a_machine_are_listed(library: FakeNvml) -> None:
    assert nvml.uuids() == ("GPU-0", "GPU-1")
    assert nvml.driver_version() == "580.159"
    assert nvml.look("GPU-1", Device.memory_used) == 14 * 2**30
    assert library.asked[-1] == "nvmlShutdown"


@pytest.mark.parametrize("error", [NVMLError(9), NVMLError(4), OSError("no libnvidia-ml.so")])
def test_a_machine_without_nvml_has_no_gpus_and_no_driver(library: FakeNvml, error: Exception) -> None:
    library.answers["nvmlInit"] = error
    assert (nvml.uuids(), nvml.driver_version(), nvml.look("GPU-1", Device.state)) == ((), "unknown", None)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(NvmlError, match="nvidia-ml-py is not installed"), nvml.opened_library():
        pass
