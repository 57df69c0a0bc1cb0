"""Owns how much memory is free where sessions run, and whether one more session of the same model finds room."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from perfsuite.measure.gpu_memory import free_on_gpu

SPARE = 1.1
"""A session is expected to take as much as the greediest so far, and a tenth more while it opens."""
MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Free bytes of the GPU that sessions use and of the host; `None` where there is none, or nobody tells."""

    gpu: int | None
    host: int | None

    def taken_since(self, before: "Room") -> "Room":
        """What was free before and is not any more."""
        return Room(gpu=_less(before.gpu, self.gpu), host=_less(before.host, self.host))

    def holds(self, sessions: Iterable["Room"]) -> bool:
        """Whether one more session fits that takes as much as the greediest of these; what is not known is no bar."""
        taken = tuple(sessions)
        return all(
            free is None or all(each is None or SPARE * each <= free for each in needs)
            for free, needs in ((self.gpu, [t.gpu for t in taken]), (self.host, [t.host for t in taken]))
        )


def room(device: str) -> Room:
    """What is free now; `device` is a model's: 'cpu', 'cuda:1', or one that leaves the choice."""
    index = int(device.partition(":")[2] or 0)
    return Room(gpu=None if device == "cpu" else free_on_gpu(index), host=_host_bytes())


def _less(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else max(0, before - after)


def _host_bytes() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None
