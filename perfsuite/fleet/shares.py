"""Owns how the work of a round is cut for several places: which cells share a session, and who comes first."""

from collections.abc import Callable, Sequence

from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Recording

Expected = Callable[[Sequence[Cell]], int | None]
"""Nanoseconds that a session of these cells may take, `None` if nobody knows."""


def cut(groups: Sequence[list[Cell]], places: int) -> list[list[Cell]]:
    """As many groups as there are places, if cells allow: the one of most cells is halved while places stay empty.

    Its cells are measured by two processes then, which both open the strategy: as long as places would be empty, that
    costs no time. Prompt lengths are dealt in turn, so that both halves take about as long.
    """
    parts = [list(group) for group in groups]
    while parts and len(parts) < places:
        largest = max(parts, key=len)
        if len(largest) < 2:
            break
        at = parts.index(largest)
        parts[at : at + 1] = [largest[::2], largest[1::2]]
    return parts


def longest_first(groups: Sequence[list[Cell]], expected: Expected) -> list[list[Cell]]:
    """Those of unknown length, then by their length: the last to end ends at most a third too late (Graham 1969)."""
    times = [expected(group) for group in groups]
    order = sorted(range(len(groups)), key=lambda index: (times[index] is not None, -(times[index] or 0)))
    return [groups[index] for index in order]


def spent_ns(recordings: Sequence[Recording]) -> int | None:
    """What a session of these cells took by what it recorded: its startup once, and every request; `None` of none."""
    if not recordings:
        return None
    startup = max(recording.startup_ns for recording in recordings)
    return startup + sum(sample.e2e_ns for each in recordings for sample in (*each.warmups, *each.samples))
