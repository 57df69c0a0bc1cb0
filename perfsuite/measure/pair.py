"""Owns two sessions that share a machine: both at once in turns, or one after the other."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from perfsuite.measure.launcher import SessionEnd, Worker, run_session, started
from perfsuite.measure.recipe import Recipe
from perfsuite.measure.session import Progress, SessionJob
from perfsuite.measure.turns import Turn, allowed_cores

NO_ROOM = "out of memory"
TURN_NS = 20 * 10**6
"""What the requests of a turn shall take. Some hosts change their speed within tenths of a second: the two turns of a
pair must be near each other, and more requests in a turn tell little more than one."""
LONG_NS = 10 * 10**6
"""Of a request so long it is a small part that caches are cold after waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One arm's session: what it does, and how its process is started."""

    job: SessionJob
    recipe: Recipe


Ends = tuple[SessionEnd | None, SessionEnd | None]
"""How each arm's session ended; `None` if it was ended because the other one broke."""
OnProgress = Callable[[Progress], None]


def run_in_turns(first: Launch, second: Launch, on_progress: OnProgress, *, seed: int) -> Ends:
    """Run both sessions, of which one works at a time; `seed` draws the order within every pair of turns.

    The jobs must ask for turns and for the same blocks, which become as short as the slower arm's requests ask for. In
    a pair of turns both launch what a GPU does from the same core, since cores of a shared host differ for seconds.
    When one arm breaks, the other is ended.
    """
    order, cores = np.random.default_rng(seed), sorted(allowed_cores())
    with ExitStack() as stack:
        workers = [stack.enter_context(started(arm.job, on_progress, arm.recipe)) for arm in (first, second)]
        ends: list[SessionEnd | None] = [worker.follow() for worker in workers]
        while not any(map(_is_broken, ends)) and None in ends:
            turn = turn_for([worker.request_ns for worker in workers], first.job.measure.block_size)
            turn = replace(turn, core=int(order.choice(cores)) if cores else None)
            for arm in order.permutation(2).tolist():
                if ends[arm] is None:
                    ends[arm] = _one_turn(workers[arm], turn)
                if _is_broken(ends[arm]):
                    break
    return ends[0], ends[1]


def turn_for(request_ns: Sequence[tuple[int, ...]], most: int) -> Turn:
    """A turn for 1 to `most` requests of a cell, by what each arm says of its cells; as the job says until both know.

    The slowest cell decides how many, so that blocks are the same for all, the fastest whether the first one counts.
    """
    if not all(request_ns):
        return Turn()
    known = [each for of_arm in request_ns for each in of_arm]
    requests = max(1, min(most, TURN_NS // max(1, *known)))
    return Turn(requests=requests, first_counts=requests == 1 and min(known) >= LONG_NS)


def _one_turn(worker: Worker, turn: Turn) -> SessionEnd | None:
    worker.give_turn(turn=turn)
    return worker.follow()


def run_one_by_one(first: Launch, second: Launch, on_progress: OnProgress, *, seed: int) -> Ends:
    """Run the whole session of one, then that of the other, in an order drawn from `seed`.

    When the first of them breaks, the other is not begun.
    """
    arms = (first, second)
    ends: list[SessionEnd | None] = [None, None]
    for arm in np.random.default_rng(seed).permutation(2).tolist():
        ends[arm] = run_session(replace(arms[arm].job, turns=False), on_progress, arms[arm].recipe)
        if _is_broken(ends[arm]):
            break
    return ends[0], ends[1]


def _is_broken(end: SessionEnd | None) -> bool:
    return end is not None and (not end.recordings or end.lost is not None)


def lacked_room(ends: Ends) -> str | None:
    """What an arm said that found no memory left, as it opened or in its requests; `None` if none did."""
    for end in ends:
        if end is None:
            continue
        failures = (failure.message for recording in end.recordings for failure in recording.failures)
        told = (end.broken or "", end.died or "", end.unavailable or "", *failures)
        found = next((text for text in told if NO_ROOM in text.lower() or "no room" in text), None)
        if found is not None:
            return found
    return None
