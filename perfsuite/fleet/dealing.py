"""Owns the dealing of sessions to free places: one session per place at a time, what they say in one thread.

A chain is all that follows from one session: it yields an errand, is sent how that ended, and may yield the next.
Chains are advanced, and the listener is called, by the thread that deals; so neither needs a lock.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Protocol

from perfsuite.core.errors import PerfsuiteError
from perfsuite.core.matrix import Cell
from perfsuite.fleet.place import Errand, Outcome, Place
from perfsuite.fleet.rota import Rota
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.session import Progress, SessionJob

Chain = Generator[Errand, SessionEnd, None]


class Listener(Protocol):
    """Who is told of sessions."""

    def began(self, job: SessionJob, place: str) -> None: ...
    def progressed(self, job: SessionJob, progress: Progress) -> None: ...
    def ended(self, job: SessionJob, outcome: Outcome) -> None: ...


@dataclass(frozen=True, slots=True)
class Planned:
    """A chain, the cells that it is about, and its next errand: `None` if it has not begun."""

    chain: Chain
    cells: tuple[Cell, ...] = ()
    errand: Errand | None = None


def deal(planned: Iterable[Planned], places: Sequence[Place], listener: Listener, rota: Rota | None = None) -> None:
    """Run every chain to its end, in this order as places become free; whatever a chain raises ends all.

    `rota` says which sessions were made where before. The next of a cell is made where it had the fewest: of two
    devices of one product one is a little slower, and a verdict is red only if sessions agree. If that place is not
    free, one of the next few that wait goes first, if it is in its turn: as many are looked at as there are places.
    A chain that goes on does so before the next begins. On the way out every session has ended; one that ended by
    itself was handed to its chain, those that were stopped were not.
    """
    dealer = _Dealer(places, listener, Rota() if rota is None else rota)
    with ThreadPoolExecutor(len(places), thread_name_prefix="perfsuite-place") as threads:
        try:
            dealer.run(deque(planned), threads)
        finally:
            dealer.stop(threads)


class _Dealer:
    def __init__(self, places: Sequence[Place], listener: Listener, rota: Rota) -> None:
        self._places, self._rota = tuple(places), rota
        self._free = list(places)
        self._listener = listener
        self._waiting: deque[Planned] = deque()
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._running = 0

    def run(self, waiting: deque[Planned], threads: ThreadPoolExecutor) -> None:
        self._waiting = waiting
        while self._waiting or self._running:
            while self._waiting and self._free:
                self._begin(self._next(), threads)
            if self._running:
                self._inbox.get()()

    def stop(self, threads: ThreadPoolExecutor) -> None:
        """End what still runs; what has ended by itself in the meantime counts."""
        self._stop.set()
        threads.shutdown()
        self._waiting.clear()
        while not self._inbox.empty():
            with suppress(PerfsuiteError):  # what stopped the dealing is under way already
                self._inbox.get()()

    def _next(self) -> Planned:
        """Of the first few the first that a free place suits, else the first of all."""
        few = islice(self._waiting, len(self._places))
        index = next((index for index, each in enumerate(few) if self._suits(each)), 0)
        found = self._waiting[index]
        del self._waiting[index]
        return found

    def _suits(self, planned: Planned) -> bool:
        return planned.errand is not None or self._rota.suits(planned.cells, self._free, self._places)

    def _begin(self, planned: Planned, threads: ThreadPoolExecutor) -> None:
        errand = planned.errand or next(planned.chain, None)
        if errand is None:
            return
        place = self._rota.best(errand.job.cells, self._free)
        self._free.remove(place)
        self._rota.note(errand.job.cells, place)
        self._running += 1
        self._listener.began(errand.job, place.name)
        future = threads.submit(place.run, errand, partial(self._tell, errand.job), self._stop)
        future.add_done_callback(lambda done: self._inbox.put(partial(self._end, planned, errand, place, done)))

    def _tell(self, job: SessionJob, progress: Progress) -> None:
        self._inbox.put(partial(self._listener.progressed, job, progress))

    def _end(self, planned: Planned, errand: Errand, place: Place, done: "Future[Outcome]") -> None:
        self._running -= 1
        self._free = sorted((*self._free, place), key=self._places.index)
        outcome = done.result()
        if outcome.end is None:
            return
        try:
            self._listener.ended(errand.job, outcome)
        finally:  # Ctrl-C while it is told costs no session that was finished
            with suppress(StopIteration):
                self._waiting.appendleft(replace(planned, errand=planned.chain.send(outcome.end)))
