"""Owns the trial of a strategy beside busy neighbours: the same session by itself and beside them, in turns.

It takes its blocks on one seat; on every other seat the same strategy answers requests without a pause during one
block of each pair and is held still during the other. Whatever belongs to the session is on both sides of a pair, so
that what is left is the neighbours' doing.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from perfsuite.core.errors import OptionError
from perfsuite.core.vicinity import Effect, effects
from perfsuite.fleet.place import Seat
from perfsuite.measure.clock import pause_ns
from perfsuite.measure.launcher import SessionEnd, Worker, started
from perfsuite.measure.session import Progress, SessionJob

PAIRS = 30
BLOCK, REQUESTS_A_DECODE = 8, 8
"""One-token requests in a block, and how many of them there are for a full one."""
BUSY_BLOCKS = 10_000
"""Blocks of a neighbour: more than it gets done while it is needed; one that ends before makes the trial void."""
AWAKE_NS = 50_000_000
"""A neighbour that is let go is busy well within this time, one that is held is still."""


def try_beside(job: SessionJob, here: Seat, others: Sequence[Seat], allowed: Mapping[str, float]) -> tuple[Effect, ...]:
    """What busy sessions of the same strategy on the `others` do to the first cell of `job` on the seat `here`.

    `allowed` says by series what is harmless.
    OptionError with the reason if a session does not open, or ends too early.
    """
    with ExitStack() as stack:
        own = stack.enter_context(started(_trial(job, PAIRS * 2), _unheard, here.recipe))
        busy = [stack.enter_context(started(_trial(job, BUSY_BLOCKS), _unheard, seat.recipe)) for seat in others]
        _warm([own])  # what it compiles or builds is kept, and the others find it
        _warm(busy)
        for worker in busy:
            worker.give_turn(BUSY_BLOCKS + 1)
        beside = _order(job.session)
        end = _take_blocks(own, busy, beside)
        if any(worker.has_ended for worker in busy):
            raise OptionError("a neighbour ended before the trial did")
    if not end.recordings:
        raise OptionError(_reason(end))
    return effects(end.recordings[0], beside, allowed)


def _trial(job: SessionJob, blocks: int) -> SessionJob:
    """The same strategy with one of its cells, in turns; nobody watches the machine or checks the tokens."""
    samples = blocks * BLOCK
    measure = replace(
        job.measure, samples=samples, decode_samples=samples // REQUESTS_A_DECODE, block_size=BLOCK, monitor=False
    )
    return replace(job, cells=job.cells[:1], measure=measure, turns=True, is_checked=False)


def _unheard(_: Progress) -> None:
    """The progress of a trial is not shown."""


def _order(seed: int) -> list[bool]:
    """Of every pair of blocks one is taken beside busy neighbours; a draw says which."""
    draws = np.random.default_rng(seed).integers(2, size=PAIRS).astype(bool).tolist()
    return [side for first in draws for side in (first, not first)]


def _warm(workers: Sequence[Worker]) -> None:
    """Until each waits for the turn of its first block; they open at the same time."""
    for worker in workers:
        _to_next_turn(worker)
        worker.give_turn()
    for worker in workers:
        _to_next_turn(worker)


def _to_next_turn(worker: Worker) -> None:
    """Until it waits for a turn; OptionError if it ends before."""
    end = worker.follow()
    if end is not None:
        raise OptionError(_reason(end))


def _take_blocks(own: Worker, busy: Sequence[Worker], beside: Sequence[bool]) -> SessionEnd:
    """How the session ended: with its last turn, or before."""
    for is_beside in (*beside, False):
        for worker in busy:
            (worker.go_on if is_beside else worker.hold)()
        pause_ns(AWAKE_NS)
        own.give_turn()
        end = own.follow()
        if end is not None:
            return end
    raise OptionError("it did not end with its last block")


def _reason(end: SessionEnd) -> str:
    return end.refused or end.unavailable or end.broken or end.died or end.lost or "it ended without a word"
