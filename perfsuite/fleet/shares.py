"""Owns how the work of a round is cut for several places: which cells share a session, and who comes first."""

from collections.abc import Callable, Sequence

from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Recording
from perfsuite.measure.session_check import CHECK_AGAIN_NS, CHECK_NS

Expected = Callable[[Sequence[Cell]], int | None]
"""Nanoseconds that a session of these cells may take from its start to its end, `None` if nobody knows."""

STARTING_NS = 6 * 10**9
"""A process that starts and imports torch and transformers: 6 to 7 s on two cores with other work, half of it idle."""
LEAST_GAIN = 0.05
"""More sessions than places open strategies once more: only for an end that comes earlier by this share."""


def cut(groups: Sequence[list[Cell]], places: int, expected: Expected) -> list[list[Cell]]:
    """At least as many groups as there are places, if cells allow, and more where the last one then ends earlier.

    The longest is halved, by its number of cells where nobody knows how long groups take. Its cells are measured by two
    processes then, which both open the strategy. Prompt lengths are dealt in turn, so that both halves take about as
    long.
    """
    parts = [list(group) for group in groups if group]
    while len(parts) < places and (halved := _halved(parts, expected)):
        parts = halved
    shortest_ns, further = _end_ns(parts, places, expected), parts
    while shortest_ns is not None and len(further) < 2 * places + len(groups):
        further = _halved(further, expected) or []
        end_ns = _end_ns(further, places, expected) if further else None
        if end_ns is None:
            break
        if end_ns < (1 - LEAST_GAIN) * shortest_ns:
            parts, shortest_ns = further, end_ns
    return parts


def _halved(parts: Sequence[list[Cell]], expected: Expected) -> list[list[Cell]] | None:
    """The same with the longest of several cells in two; `None` if there is none."""
    several = [part for part in parts if len(part) > 1]
    if not several:
        return None
    times = [expected(part) for part in several]
    known = None not in times
    largest = max(range(len(several)), key=lambda index: (times[index] or 0) if known else len(several[index]))
    at = next(index for index, part in enumerate(parts) if part is several[largest])
    return [*parts[:at], several[largest][::2], several[largest][1::2], *parts[at + 1 :]]


def _end_ns(parts: Sequence[list[Cell]], places: int, expected: Expected) -> int | None:
    """When the last of them ends, dealt longest first; `None` if nobody knows how long one takes."""
    busy_ns = [0] * places
    for part in longest_first(parts, expected):
        time_ns = expected(part)
        if time_ns is None:
            return None
        busy_ns[busy_ns.index(min(busy_ns))] += time_ns
    return max(busy_ns)


def longest_first(groups: Sequence[list[Cell]], expected: Expected) -> list[list[Cell]]:
    """Those of unknown length, then by their length: the last to end ends at most a third too late (Graham 1969)."""
    times = [expected(group) for group in groups]
    order = sorted(range(len(groups)), key=lambda index: (times[index] is not None, -(times[index] or 0)))
    return [groups[index] for index in order]


def session_ns(recordings: Sequence[Recording], *, was_checked: bool) -> int:
    """What a session of the cells of these takes: its startup once, every request, and what no recording holds of it.

    That is its process, and the look at its tokens at its longest, which is short if an earlier session's were.
    """
    startup_ns = max(recording.startup_ns for recording in recordings)
    requests_ns = sum(sample.e2e_ns for each in recordings for sample in (*each.warmups, *each.samples))
    return STARTING_NS + startup_ns + requests_ns + (CHECK_AGAIN_NS if was_checked else CHECK_NS)
