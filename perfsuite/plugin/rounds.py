"""Owns which strategies of a run are measured in turns, and what becomes of those that find no room beside others."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from perfsuite.core.matrix import Cell
from perfsuite.core.ratio import COMPARED_SESSIONS
from perfsuite.core.units import format_seconds
from perfsuite.measure.clock import Clock, HostClock
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.room import room
from perfsuite.measure.rounds import OnProgress, run_in_rounds
from perfsuite.measure.session import SessionJob

Key = tuple[str, object]
"""A strategy and a model: the cells that share a process."""
OFF, ON = "off", "on"
LONG_PASS_NS = 120 * 10**9
"""Strategies that nobody asked to compare are measured once if that took longer, and in turns no longer than that."""
_TOOK_TOO_LONG = (
    f"measuring every strategy once takes longer than {format_seconds(LONG_PASS_NS)}, so they were measured one after "
    f"the other from then on; for turns and {COMPARED_SESSIONS} sessions of each use --perf-interleave on"
)


class Rounds:
    """Remembers who did not fit, so that nobody is asked twice."""

    def __init__(self, interleave: str, has_baseline: Callable[[Cell], bool], clock: Clock | None = None) -> None:
        self._interleave = interleave
        self._clock = clock or HostClock()
        self._has_baseline = has_baseline
        self._alone: dict[Key, str] = {}
        self._took_too_long = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of those that might have been measured in turns and were not, or not often enough."""
        return tuple(filter(None, (*dict.fromkeys(self._alone.values()), self._took_too_long)))

    @property
    def repeat(self) -> bool:
        """Whether whoever took turns takes them again, for the intervals of ratios that nobody asked for by a test."""
        return not self._took_too_long

    def heed(self, first_pass_ns: int) -> None:
        """How long it took to measure everything once."""
        if self._interleave != ON and first_pass_ns > LONG_PASS_NS:
            self._took_too_long = (
                f"measuring every strategy once took {format_seconds(first_pass_ns)}, so it was not repeated for the "
                f"intervals of ratios; for {COMPARED_SESSIONS} sessions of each use --perf-interleave on"
            )

    def groups(self, arms: Mapping[Key, list[Cell]]) -> list[list[list[Cell]]]:
        """Arms that are measured in turns, in one list; each of the others in a list of its own."""
        together: dict[tuple[object, object], list[list[Cell]]] = {}
        for key, members in arms.items():
            place = (key[1], None) if self._shares(key, members) else key
            together.setdefault(place, []).append(members)
        return list(together.values())

    def _shares(self, key: Key, members: Iterable[Cell]) -> bool:
        """Whether an arm takes turns; what a baseline judges was measured by itself then, and is now."""
        if self._interleave == OFF or key in self._alone:
            return False
        return self._interleave == ON or not any(map(self._has_baseline, members))

    def run(
        self, jobs: Sequence[SessionJob], on_progress: OnProgress, on_end: Callable[[SessionEnd], None]
    ) -> tuple[SessionEnd | None, ...]:
        """How the session of each arm ended; `None` for one that is to be measured by itself.

        `on_end` is told of each as soon as it has ended, lest all go with the last.
        """
        device = jobs[0].cells[0].model.device
        turning = [replace(job, turns=True) for job in jobs]
        strategies = [job.cells[0].strategy for job in jobs]
        clock, began_ns = self._clock, self._clock.now_ns()
        told: dict[int, SessionEnd] = {}

        def goes_on() -> bool:
            return self._interleave == ON or clock.now_ns() - began_ns <= LONG_PASS_NS

        def ended(index: int, end: SessionEnd, company: frozenset[int]) -> None:
            told[index] = _marked(end, tuple(strategies[other] for other in sorted(company)))
            on_end(told[index])

        seed = jobs[0].session
        ends = run_in_rounds(turning, on_progress, seed=seed, room=lambda: room(device), goes_on=goes_on, on_end=ended)
        if not goes_on():
            self._took_too_long = _TOOK_TOO_LONG
        self._leave_alone(jobs, ends)
        return tuple(told.get(index, end) for index, end in enumerate(ends))

    def _leave_alone(self, jobs: Sequence[SessionJob], ends: Sequence[SessionEnd | None]) -> None:
        left = [job.cells[0] for job, end in zip(jobs, ends, strict=True) if end is None]
        names = ", ".join(f"{cell.strategy_slug}/{cell.model.slug}" for cell in left)
        note = f"{names}: measured by themselves, as not all strategies open beside each other"
        self._alone.update({(cell.strategy, cell.model): "" if self._took_too_long else note for cell in left})


def _marked(end: SessionEnd, company: tuple[str, ...]) -> SessionEnd:
    """The recordings with the strategies that took turns with theirs."""
    marked = tuple(replace(recording, beside=company) for recording in end.recordings)
    return replace(end, recordings=marked)
