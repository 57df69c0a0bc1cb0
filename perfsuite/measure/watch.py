"""Owns the sampler as seen from the measured process: start it, read what it saw, let go of it.

The measured process reads nothing while samples are taken: the sampler writes into a file without a name.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

import perfsuite
from perfsuite.core.codec import CodecError, decode, encode
from perfsuite.core.reading import Monitoring, Neighbour, Place
from perfsuite.measure import nvml, procfs
from perfsuite.measure.clock import HostClock, pause_ns
from perfsuite.measure.monitor import FAREWELL, Sighting, Task

BOOT = "import sys; sys.path.pop(0); sys.path.append({home!r}); from perfsuite.measure.monitor import main; main()"
START_NS = 20 * 10**9
"""How long the sampler may take to start: a tenth of a second, on a crowded machine with a cold disk many."""
PATIENCE_NS = 10 * 10**9
"""How long a reading behind the last sample is waited for; the sampler gives one every tenth of a second."""
POLL_NS = 20_000_000
UNSTARTED = f"the sampler did not start within {START_NS // 10**9} s"
NO_PROC = "the host: there is no /proc here"
OFF = "switched off (--perf-monitor off)"
TURNS = "other processes on the GPU: a session that takes turns with this one is among them"
HIDDEN = "other processes on the GPU: the driver shows none here, not even this one"

Present = Mapping[str, frozenset[int]]
"""The processes on each GPU by its UUID, as the driver counts them."""


class Watcher(Protocol):
    """What can say how the machine was."""

    def monitoring(self, until_ns: int) -> Monitoring:
        """All that was seen, up to a reading behind `until_ns` if one comes in time."""
        ...


class Blind:
    """Nobody watches; `reasons` say why."""

    def __init__(self, *reasons: str) -> None:
        self._reasons = reasons

    def monitoring(self, until_ns: int) -> Monitoring:  # noqa: ARG002 - the protocol's
        return Monitoring(not_monitored=self._reasons)


class Sampler:
    """A sampler that runs, and the file it writes into."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", log: IO[bytes], reasons: tuple[str, ...], *, is_shared: bool = False
    ) -> None:
        self._process, self._log, self._reasons, self._is_shared = process, log, reasons, is_shared
        self._read_to = 0
        self._sightings: list[Sighting] = []

    def wait_for_start(self) -> None:
        """Until it watches, so that nothing is measured unwatched, nor beside a process that still starts."""
        self._wait(lambda: bool(self._sightings), START_NS)
        if not self._sightings and self._process.poll() is None:
            self._reasons = (*self._reasons, UNSTARTED)

    def monitoring(self, until_ns: int) -> Monitoring:
        self._wait(lambda: self._newest_ns() >= until_ns, PATIENCE_NS)
        return self._seen()

    def _wait(self, is_met: Callable[[], bool], patience_ns: int) -> None:
        """For what the sampler says; in vain once it has ended, or after so long."""
        clock = HostClock()
        give_up_ns = clock.now_ns() + patience_ns
        while True:
            is_over = self._process.poll() is not None
            self._read_on()
            if is_met() or is_over or clock.now_ns() > give_up_ns:
                return
            pause_ns(POLL_NS)

    def _newest_ns(self) -> int:
        newest_first = (reading for each in reversed(self._sightings) for reading in (each.device, each.host))
        return next((reading.at_ns for reading in newest_first if reading is not None), 0)

    def _seen(self) -> Monitoring:
        sightings = self._sightings
        missing = [each.not_monitored for each in sightings if each.not_monitored]
        if self._process.poll() is not None:
            missing.append(f"the sampler ended with exit code {self._process.returncode}")
        return Monitoring(
            device=tuple(each.device for each in sightings if each.device is not None),
            host=tuple(each.host for each in sightings if each.host is not None),
            neighbours=tuple(
                neighbour for each in sightings for neighbour in each.neighbours if self._counts(neighbour)
            ),
            not_monitored=(*self._reasons, *missing),
        )

    def _counts(self, neighbour: Neighbour) -> bool:
        """What used the GPU between two readings may have done so in its own turn."""
        return not (self._is_shared and neighbour.place is Place.DEVICE)

    def _read_on(self) -> None:
        """Every whole line since the last time; the sampler's own place in the file is not moved."""
        size = os.fstat(self._log.fileno()).st_size
        found = os.pread(self._log.fileno(), size - self._read_to, self._read_to)
        whole = found[: found.rfind(b"\n") + 1]
        self._read_to += len(whole)
        self._sightings += [_sighting(line) for line in whole.decode(errors="replace").splitlines()]


def _sighting(line: str) -> Sighting:
    """What a library writes in between is nothing that was seen."""
    try:
        return decode(Sighting, json.loads(line), where="sighting")
    except (json.JSONDecodeError, CodecError):
        return Sighting()


def present() -> Present:
    """Who is on the GPUs now; asked before a strategy opens, so that what comes then is known to be its own."""
    found = {uuid: nvml.look(uuid, nvml.Device.processes) for uuid in nvml.uuids()}
    return {uuid: frozenset(pids) for uuid, pids in found.items() if pids is not None}


@contextmanager
def watching(device: str, before: Present, *, is_shared: bool = False) -> Iterator[Watcher]:
    """A watcher of this process and of its GPU, if `device` ('cuda:0') is one; blind where nothing can be seen.

    With `is_shared` sessions that take turns with this one are on the GPU, so that no other process is told from them.
    """
    reasons: list[str] = [] if procfs.is_readable() else [NO_PROC]
    uuid = uuid_of(device)
    if uuid and is_shared:
        reasons.append(TURNS)
    if device.startswith("cuda") and uuid is None:
        reasons.append("the GPU: which one it is cannot be told")
    own = _own_on(uuid, before, reasons) if uuid else ()
    if uuid is None and NO_PROC in reasons:
        yield Blind(*reasons)
        return
    with tempfile.TemporaryFile() as log:
        process = _start(Task(pid=os.getpid(), uuid=uuid, own=own), log)
        sampler = Sampler(process, log, tuple(reasons), is_shared=is_shared)
        try:
            sampler.wait_for_start()
            yield sampler
        finally:
            _end(process)


def uuid_of(device: str) -> str | None:
    """'GPU-…' of torch's device 'cuda:1'; `None` for what is no GPU, or where torch does not tell."""
    if not device.startswith("cuda") or "torch" not in sys.modules:
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    uuid = getattr(torch.cuda.get_device_properties(torch.device(device)), "uuid", None)
    return None if uuid is None else f"GPU-{str(uuid).removeprefix('GPU-')}"


def _own_on(uuid: str, before: Present, reasons: list[str]) -> tuple[int, ...]:
    """By which ids the driver knows this process and its children, where it counts otherwise than the kernel does."""
    now = nvml.look(uuid, nvml.Device.processes)
    if now is None:
        return ()
    if not now:
        reasons.append(HIDDEN)
    return () if os.getpid() in now else tuple(sorted(set(now) - before.get(uuid, frozenset())))


def _start(task: Task, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    home = str(Path(perfsuite.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-c", BOOT.format(home=home), json.dumps(encode(task))],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.DEVNULL,
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.write(FAREWELL)
            process.stdin.close()
    try:
        process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
