"""Owns a rank that follows: a process that opens the same strategy and does whatever the rank that answers does."""

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from perfsuite.core.errors import DeviceLostError, PerfsuiteError, one_line
from perfsuite.core.sample import Chunk
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.clock import Clock, HostClock
from perfsuite.measure.fault import device_fault
from perfsuite.measure.opening import create
from perfsuite.models.ranks import Seat
from perfsuite.strategies._line import COMMANDS, LIFE, Line, connect

ALERT_NS = 5_000_000
"""On a GPU, whose host has cores to spare, a rank looks for the next command without pause for so long: requests that
come one right behind the other need not wake it up."""
STREAM, CLOSE = "stream", "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a rank is to open."""

    reference: str
    seat: Seat
    spec: ModelSpec
    workloads: tuple[Workload, ...]
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of a command: its value, or the error that it ended in."""

    value: Any = None
    error: PerfsuiteError | RuntimeError | None = None


def main() -> None:
    """Follow until the rank that answers says that it is over, or ends."""
    address, rank = sys.argv[1], int(sys.argv[2])
    life = connect(address, LIFE, rank)
    threading.Thread(target=_end_with, args=(life,), daemon=True, name="perfsuite-rank-watch").start()
    line = Line(connect(address, COMMANDS, rank))
    follow(line.receive(), line, Line(life))


def _end_with(life: Connection) -> None:
    """End this process as soon as the one at the other end has ended, even if a collective waits for it for ever."""
    try:
        life.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


class Replies:
    """What goes back on the line; that one is an error goes by `life` as well, which is heard in the midst of a sum."""

    def __init__(self, line: Line, life: Line) -> None:
        self._line, self._life = line, life
        self._sent = 0

    def send(self, reply: Reply) -> None:
        self._line.send(reply)
        self._sent += 1
        if reply.error is not None:
            self._life.send((self._sent, one_line(reply.error)))


def follow(charge: Charge, line: Line, life: Line) -> None:
    """Open the strategy of a charge, then do what comes in on the line, with a reply to each."""
    import torch

    if charge.threads:
        torch.set_num_threads(charge.threads)
    if charge.spec.device != "cpu":
        torch.cuda.set_device(charge.spec.device)
    strategy: Any = create(charge.reference)
    replies = Replies(line, life)
    strategy.sit(charge.seat, lambda: replies.send(Reply()))
    clock = HostClock() if charge.spec.device != "cpu" else None

    def opened() -> None:
        for _ in strategy.open(charge.spec, charge.workloads):
            pass
        gc.collect()
        gc.freeze()  # what is there now is there to stay: collections between requests need not look at it

    try:
        if not _reply(replies, opened):
            return
        for name, arguments, is_value_wanted in _commands(line, clock):
            run = partial(getattr(strategy, name), *arguments)
            _reply(replies, partial(drawn, run) if name == STREAM else run, is_value_wanted=is_value_wanted)
    finally:
        gc.unfreeze()
        strategy.close()


def drawn(stream: Callable[[], Iterator[Chunk]]) -> tuple[int, ...]:
    """The ids of a stream in the order in which they came; no garbage is collected while others wait for them."""
    gc.disable()
    try:
        return tuple(token for chunk in stream() for token in chunk.token_ids)
    finally:
        gc.enable()


def _commands(line: Line, clock: Clock | None) -> Iterator[tuple[str, tuple[Any, ...], bool]]:
    """Method, arguments, and whether what it gives is wanted, until it is over."""
    while True:
        if clock is not None:
            until_ns = clock.now_ns() + ALERT_NS
            while not line.is_there(0) and clock.now_ns() < until_ns:
                pass
        try:
            name, arguments, is_value_wanted = line.receive()
        except (EOFError, OSError):
            return
        if name == CLOSE:
            return
        yield name, arguments, is_value_wanted


def _reply(replies: Replies, run: Callable[[], object], *, is_value_wanted: bool = False) -> bool:
    """Do it and say what became of it; whether it could be done."""
    try:
        value = run()
        reply = Reply(value=value if is_value_wanted else None)
    except Exception as error:  # noqa: BLE001 - the border to engines that are not ours; the other rank raises it again
        reply = Reply(error=_told(error))
    replies.send(reply)
    return reply.error is None


def _told(error: Exception) -> PerfsuiteError | RuntimeError:
    """An error that means the same to another process."""
    fault = device_fault(error)
    if fault:
        return DeviceLostError(fault)
    return error if isinstance(error, PerfsuiteError) else RuntimeError(one_line(error))
