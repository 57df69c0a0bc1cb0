"""Owns several sessions that share a machine: all are open at once, and in every round each measures one block.

Of all of them one works at a time. What does not find room beside the others is left to be measured by itself. Once
turns are not worth going on with, each of them measures to its end, one after the other.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np

from perfsuite.measure.launcher import SessionEnd, Worker, started
from perfsuite.measure.pair import lacked_room
from perfsuite.measure.room import Room
from perfsuite.measure.session import Progress, SessionJob

LEAST_TOGETHER = 2
OnProgress = Callable[[SessionJob, Progress], None]
OnEnd = Callable[[int, SessionEnd, frozenset[int]], None]
"""Is told of a session as soon as it ends: its place, how, and whose company it had to the end."""


@dataclass(slots=True)
class _Open:
    """A worker that waits for its turn; `end` closes its process."""

    worker: Worker
    end: ExitStack


def run_in_rounds(
    jobs: Sequence[SessionJob],
    on_progress: OnProgress,
    *,
    seed: int,
    room: Callable[[], Room],
    goes_on: Callable[[], bool] = lambda: True,
    on_end: OnEnd | None = None,
) -> tuple[SessionEnd | None, ...]:
    """How each session ended; `None` for one that is to be measured by itself, as there was no room beside the others.

    The jobs must ask for turns. They open in the order given, each only if what the greediest so far took is free once
    more, and while turns go on; `seed` draws the order of every round. One that breaks does not end the others.
    `on_end` is told of those that were not left. A single one that opened is left as well, unless that alone took all
    the time that turns may take: it need not open again then.
    """
    order = np.random.default_rng(seed)
    with ExitStack() as stack:
        ends, waiting = _open_all(jobs, on_progress, stack, room, goes_on)
        if len(waiting) < LEAST_TOGETHER and goes_on():
            return tuple(ends)
        together = frozenset(waiting)
        while waiting:
            for index in order.permutation(sorted(waiting)).tolist():
                takes_turns = goes_on()
                end = _one_turn(waiting[index].worker) if takes_turns else _all_turns(waiting[index].worker)
                if end is None:
                    continue
                waiting.pop(index).end.close()
                ends[index] = end = None if lacked_room((end, None)) else end
                if end is not None and on_end is not None:
                    on_end(index, end, together - {index} if takes_turns else frozenset())
    return tuple(ends)


def _open_all(
    jobs: Sequence[SessionJob],
    on_progress: OnProgress,
    stack: ExitStack,
    room: Callable[[], Room],
    goes_on: Callable[[], bool],
) -> tuple[list[SessionEnd | None], dict[int, _Open]]:
    """The ends of those that did not open, and those that are open and warm, by their place."""
    ends: list[SessionEnd | None] = [None] * len(jobs)
    waiting: dict[int, _Open] = {}
    taken: list[Room] = []
    for index, job in enumerate(jobs):
        before = room()
        if not before.holds(taken) or not goes_on():
            continue
        own = stack.enter_context(ExitStack())
        worker = own.enter_context(started(job, partial(on_progress, job)))
        end = worker.follow() or _one_turn(worker)
        if end is None:
            waiting[index] = _Open(worker=worker, end=own)
            taken.append(room().taken_since(before))
        else:
            own.close()
            ends[index] = end if not waiting or end.unavailable or end.recordings else None
    return ends, waiting


def _one_turn(worker: Worker) -> SessionEnd | None:
    worker.give_turn()
    return worker.follow()


def _all_turns(worker: Worker) -> SessionEnd:
    while True:
        end = _one_turn(worker)
        if end is not None:
            return end
