"""Owns the sampler: a process of its own that watches the machine beside the measured process, as JSON lines.

Polling inside the measured process would disturb what is measured. It sleeps between two readings and ends when its
standard input does, which is when the measured process lets go of it or dies.
"""

import json
import os
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass

from perfsuite.core.codec import decode, encode
from perfsuite.core.reading import DeviceReading, HostReading, Neighbour, Place
from perfsuite.measure import procfs
from perfsuite.measure.clock import HostClock
from perfsuite.measure.family import MARK, end_marked
from perfsuite.measure.nvml import Device, DeviceState, NvmlError, opened_library

FAREWELL = b"."
INTERVAL_S = 0.1
"""Shorter than most blocks, so that each has readings of its own; NVML renews its counters about as often."""
ROUND = 5
"""Who else is on the GPU is asked with every so many readings: the list costs more than all other questions."""
LOOK_AROUND_S = 2.0
MOST_LOOKING = 0.01
"""Reading all of /proc is repeated after two seconds, and later where it takes more than this share of a core."""
LEAST_USE = 0.02
"""A process that uses less of the multiprocessors than this only holds memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to watch: the measured process, its GPU if it has one, and the ids by which the driver knows it there."""

    pid: int
    uuid: str | None = None
    own: tuple[int, ...] = ()
    interval_s: float = INTERVAL_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One line of the sampler: all that it saw at once; its first says only that it has begun."""

    device: DeviceReading | None = None
    host: HostReading | None = None
    neighbours: tuple[Neighbour, ...] = ()
    not_monitored: str | None = None


class DeviceWatch:
    """Reads one GPU; each reading stands for the time since the one before."""

    def __init__(self, device: Device, now_ns: int, own: frozenset[int], host: procfs.Host | None) -> None:
        self._device, self._host = device, host
        self._before_ns = self._asked_ns = now_ns
        self._before = device.state()
        self._own = own
        self._own_memory: int | None = None
        self._is_use_told = False
        self._until_processes = 0
        device.usage()  # what was used before counts for nobody

    def read(self, now_ns: int) -> DeviceReading:
        state, before = self._device.state(), self._before
        reading = DeviceReading(
            at_ns=now_ns,
            span_ns=now_ns - self._before_ns,
            sm_mhz=state.sm_mhz,
            memory_mhz=state.memory_mhz,
            reasons=state.reasons,
            temperature_c=state.temperature_c,
            power_mw=state.power_mw,
            energy_mj=_consumed(before, state),
            memory_used=state.memory_used,
            own_memory=self._own_memory,
            busy_share=state.busy_share,
        )
        self._before, self._before_ns = state, now_ns
        return reading

    def neighbours(self, now_ns: int) -> tuple[Neighbour, ...]:
        """Who else used the GPU since the last time that anybody was asked; nobody is with every reading.

        A driver that never tells of the measured process' own use is not believed when it tells of none by others.
        """
        self._until_processes -= 1
        if self._until_processes > 0:
            return ()
        self._until_processes = ROUND
        span_ns, self._asked_ns = now_ns - self._asked_ns, now_ns
        held = self._device.processes()
        if held is None:
            return ()
        usage = self._device.usage()
        own = [pid for pid in held if self._is_own(pid)]
        sizes = [size for pid in own if (size := held[pid]) is not None]
        self._own_memory = sum(sizes) if sizes else None
        self._is_use_told |= usage is not None and any(pid in usage for pid in own)
        return tuple(
            Neighbour(
                at_ns=now_ns, span_ns=span_ns, place=Place.DEVICE, pid=pid, name=self._device.name_of(pid), share=share
            )
            for pid in held
            if pid not in own
            for share in [usage.get(pid, 0.0) if usage is not None and self._is_use_told else None]
            if share is None or share >= LEAST_USE
        )

    def _is_own(self, pid: int) -> bool:
        return pid in self._own or (self._host is not None and self._host.is_family(pid))


def _consumed(before: DeviceState, after: DeviceState) -> int | None:
    if before.energy_mj is None or after.energy_mj is None:
        return None
    return max(0, after.energy_mj - before.energy_mj)


class _Looks:
    """When all of /proc is read the next time."""

    def __init__(self, now_ns: int) -> None:
        self._next_ns = now_ns + round(LOOK_AROUND_S * 1e9)

    def is_due(self, now_ns: int) -> bool:
        return now_ns >= self._next_ns

    def looked(self, began_ns: int, ended_ns: int) -> None:
        self._next_ns = ended_ns + max(round(LOOK_AROUND_S * 1e9), round((ended_ns - began_ns) / MOST_LOOKING))


def main() -> None:
    """Watch what the task in the first argument names, until standard input ends."""
    task = decode(Task, json.loads(sys.argv[1]), where="task")
    over = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(over,), daemon=True, name="perfsuite-end").start()
    with ExitStack() as stack:
        _watch(task, over, stack)


def _wait_for_the_end(over: threading.Event) -> None:
    """A farewell is an orderly end; without one the measured process was killed, and its run perhaps as well."""
    if os.read(0, len(FAREWELL)) != FAREWELL and MARK in os.environ:
        end_marked(os.environ[MARK])
    over.set()


def _watch(task: Task, over: threading.Event, stack: ExitStack) -> None:
    clock = HostClock()
    host = procfs.Host(task.pid, clock.now_ns()) if procfs.is_readable() else None
    device = _open_device(task, host, clock.now_ns(), stack)
    looks, own = _Looks(clock.now_ns()), frozenset((os.getpid(),))
    _tell(Sighting())
    while not over.wait(task.interval_s):
        now_ns = clock.now_ns()
        neighbours = device.neighbours(now_ns) if device else ()
        if host and looks.is_due(now_ns):
            neighbours += host.neighbours(now_ns, own)
            looks.looked(now_ns, clock.now_ns())
        _tell(
            Sighting(
                device=device.read(now_ns) if device else None,
                host=host.read(now_ns) if host else None,
                neighbours=neighbours,
            )
        )


def _open_device(task: Task, host: procfs.Host | None, now_ns: int, stack: ExitStack) -> DeviceWatch | None:
    if task.uuid is None:
        return None
    try:
        library = stack.enter_context(opened_library())
        return DeviceWatch(Device(library, task.uuid), now_ns, frozenset(task.own), host)
    except NvmlError as error:
        _tell(Sighting(not_monitored=f"the GPU: {error}"))
        return None


def _tell(sighting: Sighting) -> None:
    sys.stdout.write(json.dumps(encode(sighting)) + "\n")
    sys.stdout.flush()
