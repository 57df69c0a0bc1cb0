"""Owns the memory of GPUs as their driver sees it, whoever took it: engines may live in other processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class GpuMemory:
    """What the first `gpus` visible GPUs hold more than when this was made."""

    def __init__(self, gpus: int) -> None:
        self._gpus = gpus
        self._before = used_bytes(gpus)
        self._peak: int | None = None

    def look(self) -> int | None:
        """The most bytes that were seen so far; `None` where the driver does not tell."""
        now = used_bytes(self._gpus)
        if now is not None and self._before is not None:
            self._peak = max(now - self._before, self._peak or 0)
        return self._peak


def used_bytes(gpus: int) -> int | None:
    """Bytes in use on the first `gpus` GPUs that CUDA sees; `None` if NVML does not know one of them."""
    import pynvml

    try:
        with _nvml() as nvml:
            return sum(int(nvml.nvmlDeviceGetMemoryInfo(_handle(nvml, index)).used) for index in range(gpus))
    except (pynvml.NVMLError, IndexError):
        return None


def free_on_gpu(index: int) -> int | None:
    """Bytes that are free on CUDA's GPU `index`; `None` if there is no such GPU, or its driver does not tell."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        with _nvml() as nvml:
            return int(nvml.nvmlDeviceGetMemoryInfo(_handle(nvml, index)).free)
    except (pynvml.NVMLError, IndexError, OSError):
        return None


@contextmanager
def _nvml() -> Iterator[Any]:
    import pynvml

    pynvml.nvmlInit()
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _handle(nvml: Any, index: int) -> Any:
    """NVML's handle of CUDA's GPU `index`: CUDA_VISIBLE_DEVICES names GPUs by number or by identifier."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    name = str(index) if visible is None else [part.strip() for part in visible.split(",") if part.strip()][index]
    return nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdecimal() else nvml.nvmlDeviceGetHandleByUUID(name)
