"""Owns time: the only file of the package that reads a clock."""

import time
from datetime import datetime, timezone
from typing import Protocol


class Clock(Protocol):
    """Where the recorder takes its stamps from."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary start, never going back."""
        ...

    def wait_ns(self, duration_ns: int) -> None:
        """Return when `duration_ns` more have passed."""
        ...


class HostClock:
    """The host's monotonic high-resolution counter; waiting spins, because a sleep is late by a scheduler tick."""

    now_ns = staticmethod(time.perf_counter_ns)

    def wait_ns(self, duration_ns: int) -> None:
        end = time.perf_counter_ns() + duration_ns
        while time.perf_counter_ns() < end:
            pass


class ScriptedClock:
    """Time that passes only when told to: statistics are tested to the digit and nothing sleeps."""

    def __init__(self) -> None:
        self._now_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def wait_ns(self, duration_ns: int) -> None:
        self._now_ns += duration_ns


def pause_ns(duration_ns: int) -> None:
    """Sleep: for waiting that nobody measures."""
    time.sleep(duration_ns / 1e9)


def utc_now() -> str:
    """The wall clock as ISO 8601 in UTC, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
