"""Owns the vigil over the ranks that follow: which of them has ended or does not go on, and what comes of that.

It sleeps as long as nobody ends, but for a look now and then: what is measured must not notice it.
"""

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait

from perfsuite.core.errors import DeviceLostError
from perfsuite.core.units import NS_PER_S
from perfsuite.measure.clock import HostClock
from perfsuite.measure.family import MARK
from perfsuite.strategies._launch import Followers
from perfsuite.strategies._line import Line

STRAGGLING_S = 60.0
"""A rank that takes no step of a request for so long, while the others wait, ends the session."""
LOOK_S = 2.0
"""How often it looks whether steps are taken; an end wakes it up by itself."""
UNREAD_S = 20.0
"""How long the rank that answers may leave another's error unread before it is taken to wait for that rank in a sum."""
LETTING_GO_S = 20.0
"""How long a step may still hold the rank that answers once it is to get away from the others."""


class Vigil:
    """Over ranks by their `lives`, and the `lines` that their replies come on.

    `broken` says which rank has ended or does not go on. `is_stepping` is true, and `steps` grows, as the rank
    that answers takes steps of a request; `taken` counts the replies of each rank that it has read. `get_away` begins
    to get it out of whatever it waits for the others in.
    """

    def __init__(
        self,
        followers: Followers,
        lives: Mapping[int, Connection],
        lines: Mapping[int, Line],
        get_away: Callable[[], None],
    ) -> None:
        self.broken: str | None = None
        self.is_stepping, self.steps = False, 0
        self.taken: Counter[int] = Counter()
        self._followers, self._lives, self._lines, self._part = followers, lives, lines, get_away
        self._errors: dict[int, tuple[int, str, int]] = {}
        self._over, self._let_go = threading.Event(), threading.Event()
        threading.Thread(target=self._watch, daemon=True, name="perfsuite-ranks").start()

    def require_whole(self) -> None:
        """DeviceLostError if a rank is gone."""
        if self.broken is not None:
            self._let_go.set()
            raise DeviceLostError(self.broken)

    def break_off(self, why: str) -> None:
        """End all ranks but this one, and get this one out of whatever it waits for them in."""
        if self.broken is None and not self._over.is_set():
            self.broken = why
            self._followers.kill()
            threading.Thread(target=self._get_away, daemon=True, name="perfsuite-rank-0").start()

    def end(self) -> None:
        """Nobody's end is of interest from now on."""
        self._over.set()
        self._let_go.set()

    def _watch(self) -> None:
        clock, steps = HostClock(), self.steps
        since_ns = clock.now_ns()
        while self.broken is None:
            speaking = wait(list(self._lives.values()), timeout=LOOK_S)
            if self._over.is_set():
                return
            now_ns = clock.now_ns()
            for rank in [rank for rank, life in self._lives.items() if life in speaking]:
                self._hear(rank, now_ns)
            for rank in list(self._errors):
                self._break_off_if_unread(rank, now_ns)
            if not self.is_stepping or self.steps != steps:
                steps, since_ns = self.steps, now_ns
            elif now_ns - since_ns > STRAGGLING_S * NS_PER_S:
                self.break_off(self._straggler())

    def _hear(self, rank: int, now_ns: int) -> None:
        """That a rank has replied with an error, which whoever waits for it in a collective cannot read; or its end."""
        try:
            number, words = Line(self._lives[rank]).receive()
            self._errors[rank] = (number, words, now_ns)
        except (EOFError, OSError):
            self.break_off(self._unread(rank) or self._followers.ending(rank))

    def _break_off_if_unread(self, rank: int, now_ns: int) -> None:
        words, heard_ns = self._unread(rank), self._errors[rank][2]
        if words is None:
            del self._errors[rank]
        elif now_ns - heard_ns > UNREAD_S * NS_PER_S:
            self.break_off(words)

    def _unread(self, rank: int) -> str | None:
        """The error that a rank has replied with, if that reply was not read yet."""
        number, words, _ = self._errors.get(rank, (0, "", 0))
        return f"rank {rank} of {self._followers.size}: {words}" if number > self.taken[rank] else None

    def _straggler(self) -> str:
        named = " or ".join(str(rank) for rank in self._lives if not self._lines[rank].is_there(0)) or "0"
        size = self._followers.size
        return f"rank {named} of {size} has taken no step of a request for {STRAGGLING_S:g} s"

    def _get_away(self) -> None:
        """A session's process that a step holds even so ends, with the reason as its last words.

        Outside of steps it may be held or be busy, compiling for one: it then finds out as soon as it is done.
        """
        self._part()
        if self._let_go.wait(LETTING_GO_S) or MARK not in os.environ:
            return
        sys.stderr.write(f"{self.broken}\n")
        sys.stderr.flush()
        while not self.is_stepping:
            if self._let_go.wait(LOOK_S):
                return
        if not self._over.is_set():
            os._exit(1)
