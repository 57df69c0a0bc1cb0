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
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from perfsuite.core.errors import PerfsuiteError
from perfsuite.fleet.place import Errand, Outcome, Place
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.session import Progress, SessionJob

Chain = Generator[Errand, SessionEnd, None]


class Listener(Protocol):
    """Who is told of sessions."""

    def began(self, job: SessionJob, place: str) -> None: ...
    def progressed(self, job: SessionJob, progress: Progress) -> None: ...
    def ended(self, job: SessionJob, outcome: Outcome) -> None: ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A chain, and its next errand; `None` if it has not begun."""

    chain: Chain
    errand: Errand | None = None


def deal(chains: Iterable[Chain], places: Sequence[Place], listener: Listener) -> None:
    """Run every chain to its end, in this order as places become free; whatever a chain raises ends all.

    Of several free places the next session of a cell gets another one than the session before: of two devices of one
    product one is a little slower, and a verdict is red only if sessions agree.
    A chain that goes on does so before the next begins. On the way out every session has ended; one that ended by
    itself was handed to its chain, those that were stopped were not.
    """
    dealer = _Dealer(places, listener)
    with ThreadPoolExecutor(len(places), thread_name_prefix="perfsuite-place") as threads:
        try:
            dealer.run(deque(map(_Waiting, chains)), threads)
        finally:
            dealer.stop(threads)


class _Dealer:
    def __init__(self, places: Sequence[Place], listener: Listener) -> None:
        self._order = {place.name: index for index, place in enumerate(places)}
        self._free = list(places)
        self._listener = listener
        self._waiting: deque[_Waiting] = deque()
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._running = 0

    def run(self, waiting: deque[_Waiting], threads: ThreadPoolExecutor) -> None:
        self._waiting = waiting
        while self._waiting or self._running:
            while self._waiting and self._free:
                self._begin(self._waiting.popleft(), threads)
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

    def _begin(self, next_one: _Waiting, threads: ThreadPoolExecutor) -> None:
        errand = next_one.errand or next(next_one.chain, None)
        if errand is None:
            return
        place = self._free.pop(errand.job.session % len(self._free))
        self._running += 1
        self._listener.began(errand.job, place.name)
        future = threads.submit(place.run, errand, partial(self._tell, errand.job), self._stop)
        future.add_done_callback(lambda done: self._inbox.put(partial(self._end, next_one.chain, errand, place, done)))

    def _tell(self, job: SessionJob, progress: Progress) -> None:
        self._inbox.put(partial(self._listener.progressed, job, progress))

    def _end(self, chain: Chain, errand: Errand, place: Place, done: "Future[Outcome]") -> None:
        self._running -= 1
        self._free = sorted((*self._free, place), key=lambda each: self._order[each.name])
        outcome = done.result()
        if outcome.end is None:
            return
        try:
            self._listener.ended(errand.job, outcome)
        finally:  # Ctrl-C while it is told costs no session that was finished
            with suppress(StopIteration):
                self._waiting.appendleft(_Waiting(chain, chain.send(outcome.end)))
