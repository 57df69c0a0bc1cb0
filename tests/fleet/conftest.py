"""A host with GPUs that are not there."""

import sys
from types import SimpleNamespace

import pytest

from perfsuite.fleet import cores, gpus
from tests.watched import FakeNvml


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """A host with these GPUs by product, eight cores, and the GPUs' NUMA nodes as told."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setattr(cores, "allowed", lambda: tuple(range(8)))
    monkeypatch.setattr(cores, "quota", lambda: None)
    monkeypatch.setattr(gpus, "PCI", tmp_path)

    def with_gpus(*products: str, limits: tuple[int, ...] = ()) -> None:
        def of_uuid(uuid: str) -> int:
            return int(uuid.removeprefix("GPU-"))

        library = FakeNvml(
            nvmlInit=None,
            nvmlShutdown=None,
            nvmlDeviceGetCount=len(products),
            nvmlDeviceGetHandleByIndex=lambda index: index,
            nvmlDeviceGetHandleByUUID=of_uuid,
            nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}",
            nvmlDeviceGetName=lambda handle: products[handle],
            nvmlDeviceGetPciInfo=lambda handle: SimpleNamespace(busId=f"00000000:{handle}B:00.0"),
            nvmlDeviceGetEnforcedPowerLimit=lambda handle: limits[handle] if limits else 700_000,
        )
        monkeypatch.setitem(sys.modules, "pynvml", library)
        for handle in range(len(products)):
            folder = tmp_path / f"0000:{handle}b:00.0"
            folder.mkdir()
            (folder / "numa_node").write_text("-1\n")

    return with_gpus
