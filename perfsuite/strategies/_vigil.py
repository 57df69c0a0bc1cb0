"""Owns the vigil over the ranks that follow: which of them has ended or does not go on, and getting away from them.

It sleeps as long as nobody ends, but for a look now and then: what is measured must not notice it.
"""

import os
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait

from perfsuite.core.errors import DeviceLostError
from perfsuite.core.units import NS_PER_S
from perfsuite.measure.clock import HostClock
from perfsuite.measure.family import MARK
from perfsuite.models.ranks import give_up
from perfsuite.strategies._launch import Followers

STRAGGLING_S = 60.0
"""A rank that takes no step of a request for so long, while the others wait, ends the session."""
LOOK_S = 2.0
"""How often it looks whether steps are taken; an end wakes it up by itself."""
LETTING_GO_S = 20.0
"""How long the rank that answers may still be held by a collective with a rank that is gone."""


class Vigil:
    """Over ranks by what ends when they do; `is_silent` says whether a rank has not replied yet.

    `broken` says which rank has ended or does not go on. `is_stepping` is true, and `steps` grows, as the rank
    that answers takes steps of a request.
    """

    def __init__(self, followers: Followers, lives: Mapping[int, Connection], is_silent: Callable[[int], bool]) -> None:
        self.broken: str | None = None
        self.is_stepping, self.steps = False, 0
        self._followers, self._lives, self._is_silent = followers, lives, is_silent
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
            ended = wait(list(self._lives.values()), timeout=LOOK_S)
            if self._over.is_set():
                return
            if ended:
                self.break_off(self._followers.ending(next(r for r, life in self._lives.items() if life in ended)))
            if not self.is_stepping or self.steps != steps:
                steps, since_ns = self.steps, clock.now_ns()
            elif clock.now_ns() - since_ns > STRAGGLING_S * NS_PER_S:
                self.break_off(self._straggler())

    def _straggler(self) -> str:
        named = " or ".join(str(rank) for rank in self._lives if self._is_silent(rank)) or "0"
        size = self._followers.size
        return f"rank {named} of {size} has taken no step of a request for {STRAGGLING_S:g} s"

    def _get_away(self) -> None:
        """What gloo notices by itself, that a rank is gone, NCCL has to be told, which may take its time.

        A session's process that is not let go even so ends, with the reason as its last words.
        """
        threading.Thread(target=give_up, daemon=True, name="perfsuite-give-up").start()
        if not self._let_go.wait(LETTING_GO_S) and MARK in os.environ and not self._over.is_set():
            sys.stderr.write(f"{self.broken}\n")
            sys.stderr.flush()
            os._exit(1)
