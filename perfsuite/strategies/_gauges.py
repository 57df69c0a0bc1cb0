"""Owns the gauges of a device: a sum over as much memory as a model's weights take, and a product of square matrices.

A small model's weights stay in a cache, which reads faster than memory does; so the sum is over no more than they are.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch

from perfsuite.core.roofline import Limit
from perfsuite.models.device import free_bytes
from perfsuite.models.ranks import add_up
from perfsuite.strategies._device_time import Stopwatch

MIB = 2**20
MOST_READ_ON_CPU = 128 * MIB
LEAST_READ_ON_GPU, MOST_READ_ON_GPU = 1024 * MIB, 4096 * MIB
"""On a GPU a launch takes longer than reading a few megabytes, so that a large sum is needed as well."""
READ_PER_RUN_ON_GPU, MOST_LAUNCHES = 256 * MIB, 64
"""A small sum is launched several times, one right behind the other, so that the device has no time to wait."""
SIDE_ON_CPU, SIDES_ON_GPU = 1024, (8192, 4096)
"""Of a GPU's matrices the largest that fit; smaller ones do not show its rate."""
SUMMED_ON_CPU, SUMMED_ON_GPU, SUMS = 4 * MIB, 64 * MIB, 4
"""What several ranks add up to show how fast they send: so large that the beginning of a sum does not count."""
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Work that shows a limit, launched but not waited for, and how much of it one call does."""

    limit: Limit
    amount: int
    work: Callable[[], object]


class HostGauge:
    """A piece on a CPU, by some of its threads; one thread is one of `parts` that could run side by side."""

    def __init__(self, piece: Piece, *, threads: int, parts: int) -> None:
        self.limit, self.amount, self.parts = piece.limit, piece.amount, parts
        self._work = piece.work
        self._threads = threads

    def run(self) -> None:
        with torch.inference_mode(), _threads(self._threads):
            self._work()

    def device_ns(self) -> None:
        return None


class DeviceGauge:
    """A piece on a GPU, timed by the GPU."""

    parts = 1

    def __init__(self, piece: Piece, device: torch.device) -> None:
        self.limit, self.amount = piece.limit, piece.amount
        self._work = piece.work
        self._device = device
        self._stopwatch = Stopwatch(device)

    def run(self) -> None:
        self._stopwatch.reset()
        with torch.inference_mode():
            self._stopwatch.record()
            self._work()
            self._stopwatch.record()
        torch.cuda.synchronize(self._device)

    def device_ns(self) -> int:
        return self._stopwatch.durations_ns()[0]


class Link:
    """Sums over all ranks of a split model, timed by the GPU where there is one; all ranks send at once."""

    def __init__(self, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        self._device = device
        self._values = torch.zeros((SUMMED_ON_GPU if on_gpu else SUMMED_ON_CPU) // 4, device=device)
        self._stopwatch = Stopwatch(device) if on_gpu else None

    @property
    def amount(self) -> int:
        """Bytes of all sums of one call."""
        return SUMS * self._values.numel() * self._values.element_size()

    def send(self) -> None:
        """Once all ranks are there, a few sums, one right behind the other."""
        with torch.inference_mode():
            add_up(self._values[:1])
            if self._stopwatch:
                self._stopwatch.reset()
                self._stopwatch.record()
            for _ in range(SUMS):
                add_up(self._values)
            if self._stopwatch:
                self._stopwatch.record()
                torch.cuda.synchronize(self._device)

    def device_ns(self) -> int | None:
        return self._stopwatch.durations_ns()[0] if self._stopwatch else None


class LinkGauge:
    """What each of several ranks sends to the others: 2 (ranks - 1) / ranks of what they add up, at least.

    `send` lets all ranks send by their links, of which `link` is this one's.
    """

    limit, parts = Limit.LINK, 1

    def __init__(self, link: Link, ranks: int, send: Callable[[], object]) -> None:
        self.amount = round(2 * (ranks - 1) / ranks * link.amount)
        self._link, self._send = link, send

    def run(self) -> None:
        self._send()

    def device_ns(self) -> int | None:
        return self._link.device_ns()


Gauges = Iterator[HostGauge | DeviceGauge | LinkGauge]


def gauges_on(device: torch.device, dtype: torch.dtype, weight_bytes: int) -> Gauges:
    """The gauges of a device, each made when it is its turn; on a GPU within half of what is free there."""
    return _on_gpu(device, dtype, weight_bytes) if device.type == "cuda" else _on_cpu(device, dtype, weight_bytes)


def _on_gpu(device: torch.device, dtype: torch.dtype, weight_bytes: int) -> Gauges:
    """No name holds a gauge here, so that its memory is free before the next one is made."""
    try:
        torch.cuda.empty_cache()
        room = (free_bytes(device) or 0) // 2
        for size in _sizes(room, weight_bytes):
            yield DeviceGauge(summed(device, size), device)
        for side in [side for side in SIDES_ON_GPU if 3 * side**2 * dtype.itemsize <= room][:1]:
            yield DeviceGauge(multiplied(device, dtype, side), device)
    except torch.OutOfMemoryError:
        return  # something else has the memory; what was not shown is not known
    finally:
        torch.cuda.empty_cache()


def _sizes(room: int, weight_bytes: int) -> list[int]:
    """How many bytes to read on a GPU: as many as the weights have, and a lot; none where a lot does not fit."""
    large = min(max(weight_bytes, LEAST_READ_ON_GPU), MOST_READ_ON_GPU, room)
    return sorted({min(weight_bytes, large), large}) if room >= LEAST_READ_ON_GPU else []


def _on_cpu(device: torch.device, dtype: torch.dtype, weight_bytes: int) -> Gauges:
    """Each piece by all threads, and by one alone.

    Where others use the machine, all threads together wait for the latest one at every turn and can look a hundred
    times slower than they are; one thread does not.
    """
    threads = torch.get_num_threads()
    read = partial(summed, device, min(weight_bytes, MOST_READ_ON_CPU))
    for make in (read, partial(multiplied, device, dtype, SIDE_ON_CPU)):
        piece = make()
        yield HostGauge(piece, threads=threads, parts=1)
        if threads > 1:
            yield HostGauge(piece, threads=1, parts=threads)


def summed(device: torch.device, size: int) -> Piece:
    """Reading `size` bytes, each once a launch."""
    values = torch.full((max(size // 4, 1),), 1.0, dtype=torch.float32, device=device)
    read = values.numel() * values.element_size()
    launches = min(-(-READ_PER_RUN_ON_GPU // read), MOST_LAUNCHES) if device.type == "cuda" else 1
    return Piece(limit=Limit.READING, amount=launches * read, work=lambda: [values.sum() for _ in range(launches)])


def multiplied(device: torch.device, dtype: torch.dtype, side: int) -> Piece:
    """The product of two random matrices: 2 * side ** 3 operations."""
    generator = torch.Generator(device).manual_seed(SEED)
    left, right = (torch.randn(side, side, generator=generator, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(left)
    return Piece(limit=Limit.COMPUTING, amount=2 * side**3, work=lambda: torch.mm(left, right, out=product))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
