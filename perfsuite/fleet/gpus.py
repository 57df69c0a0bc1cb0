"""Owns the GPUs of this host as --perf-devices counts them: those that CUDA may see, as listed for it."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from perfsuite.core.recording import SETTINGS_THAT_MUST_AGREE
from perfsuite.measure import nvml

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
BY_PLACE = "PCI_BUS_ID"
"""The order of CUDA in which its numbers are those of the driver, by which GPUs are looked up here: every session that
is given some has it, whatever the run's own environment says."""
PCI = Path("/sys/bus/pci/devices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU by its place among those that CUDA may see; `visible` names it in CUDA_VISIBLE_DEVICES, its numbers being
    the driver's whatever CUDA_DEVICE_ORDER says. `node` is its NUMA node.

    `settings` are those of the driver that must agree for two GPUs to be measured alike.
    """

    index: int
    visible: str
    uuid: str
    product: str
    node: int | None = None
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)


def gpus(*, of_the_host: bool = False) -> tuple[Gpu, ...]:
    """All that CUDA may see here, or all `of_the_host` whoever may see them; none without a driver."""
    named = None if of_the_host else os.environ.get(VISIBLE)
    found: list[Gpu] = []
    with suppress(nvml.NvmlError), nvml.opened_library() as library:
        for index, name in enumerate(_names(library, named)):
            with suppress(library.NVMLError):
                found.append(_gpu(library, index, name))
    return tuple(found)


def _names(library: Any, visible: str | None) -> list[str]:
    """By number or identifier, as CUDA_VISIBLE_DEVICES says; without it all by number."""
    if visible is not None:
        return [part.strip() for part in visible.split(",") if part.strip()]
    try:
        return [str(index) for index in range(int(library.nvmlDeviceGetCount()))]
    except library.NVMLError:
        return []


def _gpu(library: Any, index: int, name: str) -> Gpu:
    by_number, by_identifier = library.nvmlDeviceGetHandleByIndex, library.nvmlDeviceGetHandleByUUID
    handle = by_number(int(name)) if name.isdecimal() else by_identifier(name)
    uuid = _text(library.nvmlDeviceGetUUID(handle))
    settings: dict[str, str] = nvml.look(uuid, nvml.Device.settings) or {}
    return Gpu(
        index=index,
        visible=name,
        uuid=uuid,
        product=_text(library.nvmlDeviceGetName(handle)),
        node=_node(library, lambda: library.nvmlDeviceGetPciInfo(handle).busId),
        settings={key: text for key, text in settings.items() if key in SETTINGS_THAT_MUST_AGREE},
    )


def _node(library: Any, bus_id: Callable[[], Any]) -> int | None:
    """The NUMA node that a GPU hangs on; `None` where the kernel does not tell, or there is only one."""
    try:
        domain, _, rest = _text(bus_id()).lower().partition(":")
        node = int((PCI / f"{domain[-4:]}:{rest}" / "numa_node").read_text(encoding="ascii"))
    except (library.NVMLError, OSError, ValueError):
        return None
    return node if node >= 0 else None


def _text(name: Any) -> str:
    return name if isinstance(name, str) else bytes(name).decode()
