"""Owns which of several ways to multiply on a GPU is taken: all are timed in turns, and near a tie it is the earlier.

Every process of a machine shall choose alike: where the choice differs, so do its latencies, and a gate sees that.
"""

import statistics
from collections.abc import Callable, Sequence

import torch

Product = Callable[[], object]

ROUNDS = 9
CALLS = 12
"""Calls a round of each way, over matrices that do not fit the cache together."""
WORTH = 0.98
"""A later way is taken if it needs at most this part of the time of the one that would be taken without it."""
HEATS = 2
NEAR = 1.05
"""Ways that need more than this many times the least time, in the best of the heats, take no part in the rounds."""
_AHEAD = 2_000_000  # cycles, a millisecond: the device is busy while a host launches up to 36 kernels, some 5 us each


def fastest(ways: Sequence[Sequence[Product]], duration: Callable[[Sequence[Product]], float] | None = None) -> int:
    """Which way to take: the first one unless another is faster by enough, in the middle of several rounds.

    Each way is a list of the same product with different matrices. `duration` times a round, by default on the device.
    """
    time = duration or duration_ms
    for way in ways:
        for product in way:
            product()
    heats = [min(time(way) for _ in range(HEATS)) for way in ways]
    contenders = [index for index, took in enumerate(heats) if index == 0 or took <= NEAR * min(heats)]
    rounds = []
    for round_ in range(ROUNDS if len(contenders) > 1 else 0):
        order = reversed(contenders) if round_ % 2 else contenders
        rounds.append({index: time(ways[index]) for index in order})
    taken = 0
    for index in contenders[1:]:
        if statistics.median(took[index] / took[taken] for took in rounds) <= WORTH:
            taken = index
    return taken


def duration_ms(products: Sequence[Product]) -> float:
    """How long the products take one after the other, launched while the device is still busy."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda._sleep(_AHEAD)  # type: ignore[no-untyped-call]
    start.record()
    for call in range(CALLS):
        products[call % len(products)]()
    end.record()
    end.synchronize()
    duration: float = start.elapsed_time(end)
    return duration
