"""Owns parting from the other ranks: its steps, each in a thread that is waited for no longer than it may last."""

import threading
from collections.abc import Callable
from contextlib import suppress

from perfsuite.models import ranks

PARTING_S = 20.0
"""How long a step is waited for; a thread that takes longer is left alone."""
Step = Callable[[], None]


class Parting:
    """A step that is under way is not begun once more: torch's tables of groups take no two that end the same one.

    `release` destroys the graphs that sum over the ranks.
    """

    def __init__(self, release: Step) -> None:
        self._release = release
        self._lock = threading.Lock()
        self._under_way: dict[Step, threading.Thread] = {}

    def get_away(self) -> None:
        """What gloo notices by itself, that a rank is gone, NCCL has to be told, which may take its time.

        It ends no group of which a graph is left, and no graph ends before what it runs has: so both at once. Nothing
        is waited for.
        """
        self._begin(ranks.give_up)
        self._begin(self._release)

    def give_up(self) -> None:
        """Let go of ranks that answer no more."""
        self._begin(ranks.give_up).join(PARTING_S)

    def leave(self) -> None:
        """Part from ranks that leave as well, or have been given up."""
        self._begin(ranks.leave).join(PARTING_S)

    def _begin(self, step: Step) -> threading.Thread:
        with self._lock:
            thread = self._under_way.get(step)
            if thread is None or not thread.is_alive():
                thread = threading.Thread(target=_attempt, args=(step,), daemon=True, name="perfsuite-parting")
                self._under_way[step] = thread
                thread.start()
        return thread


def _attempt(step: Step) -> None:
    with suppress(RuntimeError, ValueError, AssertionError, KeyError):  # of a group that has ended, ends, or is broken
        step()
