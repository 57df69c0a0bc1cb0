"""Owns the places of a run: which sessions go side by side, which run alone, and in which order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Recording
from perfsuite.fleet.dealing import Chain, Listener, deal
from perfsuite.fleet.isolation import Isolation
from perfsuite.fleet.place import LocalPlace, Place, Seat
from perfsuite.fleet.ray_place import RayCluster
from perfsuite.fleet.shares import cut, longest_first, spent_ns
from perfsuite.plugin.course import Keeper, course
from perfsuite.plugin.progress import ProgressDisplay
from perfsuite.plugin.settings import Settings

Past = Callable[[Cell], Sequence[Recording]]
"""Recordings of a cell that tell how long it takes."""


class Owner(Keeper, Listener, Protocol):
    """Who keeps what is measured and tells of it."""

    def count(self, cell: Cell) -> int: ...
    def of(self, cell: Cell) -> tuple[Recording, ...]: ...


class Fleet:
    """The host as one place, unless the run names its devices or a cluster."""

    def __init__(self, settings: Settings, display: ProgressDisplay, past: Past) -> None:
        asked = settings.fleet
        self._cluster = RayCluster(asked.cluster, asked.wanted) if asked.cluster else None
        seats = asked.seats or (Seat(),)
        self._places: tuple[Place, ...] = self._cluster.places if self._cluster else tuple(map(LocalPlace, seats))
        self._past = past
        if self._cluster:
            display.said(self._cluster.words)
        self._isolation = Isolation(
            () if self._cluster else seats,
            settings.root / ".perfsuite" / "neighbours",
            way=asked.neighbours,
            tolerances=settings.options.gate.tolerances,
            say=display.said,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        return self._isolation.notes

    def close(self) -> None:
        """Let go of a cluster."""
        if self._cluster:
            self._cluster.close()

    @property
    def size(self) -> int:
        """How many sessions may run at once."""
        return len(self._places)

    def deal(self, arms: Sequence[list[Cell]], sessions: Callable[[Cell], int], owner: Owner) -> None:
        """So many more sessions of each cell; arms that neighbours disturb run alone when the others are done."""
        alone = [cells for cells in arms if not self._may_share(cells, owner)]
        side_by_side = [cells for cells in arms if cells not in alone]
        for group, places in ((side_by_side, self._places), (alone, self._places[:1])):
            deal(self._courses(group, sessions, owner, len(places)), places, owner)

    def settle(self) -> tuple[str, ...]:
        """Behind sessions that had the host for themselves: lines on what they still hold."""
        first = self._places[0]
        return first.settle() if isinstance(first, LocalPlace) else ()

    def go_on(self, courses: Iterable[Chain], owner: Owner) -> None:
        """What follows from sessions that had the host for themselves."""
        deal(courses, self._places[:1], owner)

    def _may_share(self, cells: Sequence[Cell], owner: Owner) -> bool:
        shortest = min(cells, key=lambda cell: cell.workload.prompt_tokens)
        return self._isolation.may_share(owner.job([shortest], 0))

    def _courses(
        self, arms: Sequence[list[Cell]], sessions: Callable[[Cell], int], owner: Owner, places: int
    ) -> Iterator[Chain]:
        """The first sessions of all before the second ones, long ones first; cells of one arm apart if places wait."""
        rounds = max((sessions(cell) for cells in arms for cell in cells), default=0)
        wanted = [[[cell for cell in cells if sessions(cell) > index] for cells in arms] for index in range(rounds)]
        began = {cell: owner.count(cell) for cells in arms for cell in cells}
        few = sum(map(len, wanted)) < places
        for index, groups in enumerate(wanted):
            parts = cut(groups, places) if few else [group for group in groups if group]
            for cells in longest_first(parts, lambda group: self._expected(group, owner)) if places > 1 else parts:
                yield course(owner, cells, index + max(began[cell] for cell in cells))

    def _expected(self, cells: Sequence[Cell], owner: Owner) -> int | None:
        """By the last session of each in this run, else by what is stored of an earlier one."""
        return spent_ns([own[-1] for cell in cells if (own := owner.of(cell) or tuple(self._past(cell)))])
