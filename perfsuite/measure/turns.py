"""Owns the turns of a worker that shares its machine with another: it works only while it has one.

The run gives a turn as a line on the worker's standard input: empty, or a Turn as JSON. The worker hands it back by
asking for the next.
"""

import json
import os
import queue
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from perfsuite.core.codec import decode, encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """How many `requests` of a cell a turn is for (`None`: as the job says), and the `core` that asks for them.

    Unless `first_counts` one more is made before them. The core concerns a thread that launches work for a GPU, no work
    of a CPU's.
    """

    requests: int | None = None
    first_counts: bool = False
    core: int | None = None

    @property
    def line(self) -> str:
        return json.dumps(encode(self))


class Turns:
    """The worker's end: `take` waits in the thread that measures, `give` is called by the one that reads the input."""

    def __init__(self, ask: Callable[[tuple[int, ...]], None]) -> None:
        self._ask = ask
        self._given: queue.Queue[str] = queue.Queue()
        self.request_ns: tuple[int, ...] = ()
        """What a one-token request of each cell takes, by which the run chooses its turns; empty until known."""

    def give(self, line: str) -> None:
        """A turn has come from the run."""
        self._given.put(line)

    def take(self) -> Turn:
        """Hand back the turn there may be, ask for the next, and wait until it comes."""
        self._ask(self.request_ns)
        line = self._given.get()
        return decode(Turn, json.loads(line), where="turn") if line else Turn()


class Binding:
    """Keeps the calling thread on one core, until it is released. Threads that it starts meanwhile stay there too."""

    def __init__(self) -> None:
        self._before = allowed_cores()

    def bind(self, core: int) -> bool:
        """To this core, if the thread may use it; else it is released. Whether it is bound."""
        if core in self._before and sys.platform == "linux":
            with suppress(OSError):
                os.sched_setaffinity(0, {core})
                return True
        self.release()
        return False

    def release(self) -> None:
        if self._before and sys.platform == "linux":
            with suppress(OSError):
                os.sched_setaffinity(0, self._before)


def allowed_cores() -> frozenset[int]:
    """The cores that the calling thread may use; none where nobody can be bound to cores."""
    return frozenset(os.sched_getaffinity(0)) if sys.platform == "linux" else frozenset()
