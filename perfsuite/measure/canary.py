"""Owns the reading of canaries beside the blocks: the host's own loop, and those that a strategy carries."""

from collections.abc import Callable, Mapping
from statistics import median

import numpy as np

from perfsuite.core.canary import Canary, CanaryReading
from perfsuite.measure.clock import Clock
from perfsuite.measure.strategy import CarriesCanaries, ScriptsTime, Strategy

RUNS = 3
"""Runs of every canary between two blocks; a block's reading is the median of the runs before and after it."""
LOOPS, ARRAY_SIZE = 150, 64

Readings = Mapping[Canary, tuple[int, ...]]


class Canaries:
    """Everything that can be read beside the blocks of one open strategy."""

    def __init__(self, strategy: Strategy, clock: Clock) -> None:
        self._clock = clock
        self._carried = strategy.canaries() if isinstance(strategy, CarriesCanaries) else ()
        self._reads_host = not isinstance(strategy, ScriptsTime)

    def read(self) -> Readings:
        """A few runs of every canary: durations in nanoseconds, in the order taken."""
        found: dict[Canary, list[int]] = {}
        for _ in range(RUNS):
            if self._reads_host:
                found.setdefault(Canary.HOST, []).append(self._time(host_loop))
            for carried in self._carried:
                found.setdefault(carried.canary, []).append(self._time(carried.run))
                device_ns = carried.device_ns()
                if device_ns is not None:
                    found.setdefault(Canary.DEVICE, []).append(device_ns)
        return {canary: tuple(times) for canary, times in found.items()}

    def _time(self, run: Callable[[], None]) -> int:
        before_ns = self._clock.now_ns()
        run()
        return self._clock.now_ns() - before_ns


def host_loop() -> None:
    """A fixed piece of work on one core, about a quarter of a millisecond: Python's interpreter and numpy's calls."""
    counts: dict[int, int] = {}
    values = np.arange(ARRAY_SIZE, dtype=np.float32)
    for index in range(LOOPS):
        counts[index & 63] = (counts.get(index & 31, 1) * 3 + len(str(index))) & 1023
        values = np.multiply(np.add(values, 1.0), 0.5)
        values.sum()


def beside(block: int, before: Readings, after: Readings) -> tuple[CanaryReading, ...]:
    """One reading per canary for the block between two rounds of runs; a time of 0 is none."""
    times = {canary: (*before.get(canary, ()), *after.get(canary, ())) for canary in {**before, **after}}
    return tuple(
        CanaryReading(block=block, canary=canary, duration_ns=duration_ns)
        for canary, runs in times.items()
        if (duration_ns := round(median(runs))) > 0
    )
