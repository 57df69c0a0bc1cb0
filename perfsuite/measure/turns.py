"""Owns the turns of a worker that shares its machine with another: it works only while it has one.

The run gives a turn as a line on the worker's standard input, with the number of requests that it is for if the run
cares; the worker hands it back by asking for the next.
"""

import queue
from collections.abc import Callable


class Turns:
    """The worker's end: `take` waits in the thread that measures, `give` is called by the one that reads the input."""

    def __init__(self, ask: Callable[[int | None], None]) -> None:
        self._ask = ask
        self._given: queue.Queue[str] = queue.Queue()
        self.request_ns: int | None = None
        """What a one-token request takes, for the run to choose how many make a turn; `None` until it is known."""

    def give(self, line: str) -> None:
        """A turn has come from the run."""
        self._given.put(line)

    def take(self) -> int | None:
        """Hand back the turn there may be, ask for the next, and wait until it comes; the requests it is for."""
        self._ask(self.request_ns)
        return int(self._given.get() or 0) or None
