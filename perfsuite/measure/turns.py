"""Owns the turns of a worker that shares its machine with another: it works only while it has one.

The run gives a turn as an empty line on the worker's standard input; the worker hands it back by asking for the next.
"""

import threading
from collections.abc import Callable


class Turns:
    """The worker's end: `take` waits in the thread that measures, `give` is called by the one that reads the input."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._given = threading.Semaphore(0)

    def give(self, count: int = 1) -> None:
        """So many turns have come from the run."""
        if count:
            self._given.release(count)

    def take(self) -> None:
        """Hand back the turn there may be, ask for the next, and wait until it comes."""
        self._ask()
        self._given.acquire()
