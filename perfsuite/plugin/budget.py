"""Owns how long a run goes on measuring what its first pass left undecided."""

from perfsuite.core.units import format_seconds
from perfsuite.measure.clock import Clock, HostClock
from perfsuite.report.headings import counted

FACTOR = 4
"""Without --perf-budget no further session starts after so many times the first pass."""


class Budget:
    """Begins when it is made. `given_ns` is --perf-budget, which counts everything.

    Without it what is set aside counts neither in the first pass nor in what is spent.
    """

    def __init__(self, given_ns: int | None, clock: Clock | None = None) -> None:
        self._given_ns, self._clock = given_ns, clock or HostClock()
        self._began_ns = self._clock.now_ns()
        self._limit_ns = given_ns

    def end_first_pass(self, aside_ns: int = 0, *, is_endless: bool = False) -> int:
        """How long the first pass took, in nanoseconds; it sets the limit, unless there is to be none."""
        took_ns = self.spent_ns - aside_ns
        if self._given_ns is None and not is_endless:
            self._limit_ns = FACTOR * took_ns
        return took_ns

    @property
    def spent_ns(self) -> int:
        return self._clock.now_ns() - self._began_ns

    def is_over(self, aside_ns: int = 0) -> bool:
        counted_ns = self.spent_ns - (0 if self._given_ns else aside_ns)
        return self._limit_ns is not None and counted_ns >= self._limit_ns

    def told(self, cells: int, what: str, first: str = "the first pass") -> str:
        """What is said where it ended while so many cells wanted another session, and what the first pass was."""
        wanting = f"{counted(cells, 'cell')} {'wants' if cells == 1 else 'want'} another {what}"
        limit = format_seconds(self._limit_ns or 0)
        if self._given_ns is not None:
            return f"--perf-budget: {wanting}, but {limit} are spent"
        return f"{wanting}, but {FACTOR} times {first} ({limit}) is over; give more time with --perf-budget"
