"""Owns how long a check may take: what would not end in time is left out, and said."""

import math

from perfsuite.measure.clock import Clock


class Allowance:
    """`time_ns` by a clock, from `begin` on; without them there is no end."""

    def __init__(self, clock: Clock | None = None, time_ns: float = math.inf) -> None:
        self._clock = clock
        self._time_ns = time_ns
        self._began_ns: int | None = None

    def begin(self) -> None:
        """Count from now on."""
        self._began_ns = self.now_ns()

    def forgive(self, time_ns: int) -> None:
        """Count so much of what has passed since the beginning as if it had not."""
        if self._began_ns is not None:
            self._began_ns += time_ns

    def now_ns(self) -> int:
        """The time; it stands still where nothing is limited."""
        return 0 if self._clock is None else self._clock.now_ns()

    @property
    def spent_ns(self) -> int:
        """The time since the beginning; 0 before it."""
        return 0 if self._began_ns is None else self.now_ns() - self._began_ns

    @property
    def left_ns(self) -> float:
        """What is left, never below 0; infinite where nothing is limited."""
        return max(self._time_ns - self.spent_ns, 0.0)

    def has(self, wanted_ns: float) -> bool:
        """Whether something that takes so long would end in time."""
        return self.left_ns > 0 and wanted_ns <= self.left_ns
