"""Owns which of two ways to multiply on a GPU is taken: both are timed in turns, and near a tie it is always the first.

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
"""The second way is taken if it needs at most this part of the first one's time."""
_AHEAD = 2_000_000  # cycles, a millisecond: the device is busy while a host launches up to 36 kernels, some 5 us each


def is_worth_it(
    first: Sequence[Product],
    second: Sequence[Product],
    duration: Callable[[Sequence[Product]], float] | None = None,
) -> bool:
    """Whether the second way is faster than the first by enough, in the middle of several rounds.

    Each way is a list of the same product with different matrices. `duration` times a round, by default on the device.
    """
    time = duration or duration_ms
    for product in (*first, *second):
        product()
    ratios = []
    for round_ in range(ROUNDS):
        if round_ % 2:
            second_ms, first_ms = time(second), time(first)
        else:
            first_ms, second_ms = time(first), time(second)
        ratios.append(second_ms / first_ms)
    return statistics.median(ratios) <= WORTH


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
