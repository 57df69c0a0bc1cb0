from types import SimpleNamespace
from typing import Any

import pytest

from perfsuite.measure.gpu_memory import GpuMemory, used_bytes


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> dict[Any, int]:
    """The bytes in use by GPU, by number or identifier; NVML as far as it is asked."""
    pynvml = pytest.importorskip("pynvml")
    used: dict[Any, int] = {}

    def handle(name: Any) -> Any:
        if name not in used:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return name

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", handle)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", handle)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda name: SimpleNamespace(used=used[name]))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return used


def test_the_peak_is_the_most_that_was_seen_beyond_the_beginning(driver: dict[Any, int]) -> None:
    driver[0] = 100
    memory = GpuMemory(1)
    looks = []
    for driver[0] in (400, 900, 300):
        looks.append(memory.look())
    assert looks == [300, 800, 800]


def test_the_gpus_are_those_that_cuda_sees(driver: dict[Any, int], monkeypatch: pytest.MonkeyPatch) -> None:
    driver.update({0: 1, 1: 10, 2: 100, "GPU-abc": 1000})
    assert used_bytes(2) == 11
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-abc")
    assert (used_bytes(1), used_bytes(2)) == (100, 1100)


def test_a_gpu_that_the_driver_does_not_know_is_not_known(
    driver: dict[Any, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver[0] = 1
    assert used_bytes(2) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert used_bytes(1) is None
    assert GpuMemory(1).look() is None
