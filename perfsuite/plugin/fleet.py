"""Owns the places of a run: which sessions go side by side, which run alone, and in which order."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Protocol

from perfsuite.core.baseline import Baseline
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import Metric
from perfsuite.core.recording import Recording
from perfsuite.core.vicinity import allowances
from perfsuite.fleet.dealing import Chain, Listener, Planned, deal
from perfsuite.fleet.devices import notes
from perfsuite.fleet.isolation import Isolation
from perfsuite.fleet.place import LocalPlace, Place, Seat
from perfsuite.fleet.ray_place import RayCluster
from perfsuite.fleet.rota import Rota
from perfsuite.fleet.shares import Expected, cut, longest_first, session_ns
from perfsuite.measure.clock import HostClock
from perfsuite.plugin.course import Keeper, course
from perfsuite.plugin.progress import ProgressDisplay
from perfsuite.plugin.settings import Settings

Past = Callable[[Cell, Callable[[str], bool]], Baseline | None]
"""The newest stored of a cell by a device with such a name: how long it takes, and how much its sessions differ."""


class Owner(Keeper, Listener, Protocol):
    """Who keeps what is measured and tells of it."""

    def count(self, cell: Cell) -> int: ...
    def of(self, cell: Cell) -> tuple[Recording, ...]: ...


class Fleet:
    """The host as one place, unless the run names its devices or a cluster.

    `trials_ns` is how long it took so far to find out what neighbours do.
    """

    def __init__(
        self, settings: Settings, display: ProgressDisplay, past: Past, tolerances: Mapping[Metric, float]
    ) -> None:
        asked = settings.fleet
        self._cluster = RayCluster(asked.cluster, asked.wanted) if asked.cluster else None
        seats, self._seat_notes = asked.seats or (Seat(),), notes(asked.seats)
        self._places: tuple[Place, ...] = self._cluster.places if self._cluster else tuple(map(LocalPlace, seats))
        self._past, self._product = past, seats[0].product
        self._last_stored = cache(self._find_last_stored)
        self._tolerances = tolerances
        self._clock, self.trials_ns = HostClock(), 0
        self._keeps_whole = settings.options.save_baseline
        if self._cluster:
            display.said(self._cluster.words)
        self._isolation = Isolation(
            () if self._cluster else seats,
            settings.root / ".perfsuite" / "neighbours",
            way=asked.neighbours,
            say=display.said,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self._seat_notes, *self._isolation.notes)

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
            deal(self._courses(group, sessions, owner, len(places)), places, owner, _rota(group, owner))

    def settle(self) -> tuple[str, ...]:
        """Behind sessions that had the host for themselves: lines on what they still hold."""
        first = self._places[0]
        return first.settle() if isinstance(first, LocalPlace) else ()

    def go_on(self, courses: Iterable[Chain], owner: Owner) -> None:
        """What follows from sessions that had the host for themselves."""
        deal(map(Planned, courses), self._places[:1], owner)

    def _may_share(self, cells: Sequence[Cell], owner: Owner) -> bool:
        shortest = min(cells, key=lambda cell: cell.workload.prompt_tokens)
        began_ns = self._clock.now_ns()
        may_share = self._isolation.may_share(owner.job([shortest], 0), lambda: self._harmless(cells))
        self.trials_ns += self._clock.now_ns() - began_ns
        return may_share

    def _harmless(self, cells: Sequence[Cell]) -> Mapping[str, float]:
        """What neighbours may change of these cells, which share a strategy and a model.

        A baseline is made by the tolerances alone; nor does one of another product tell how much sessions differ here.
        """
        stored = [] if self._keeps_whole else [found for cell in cells if (found := self._past(cell, self._is_own))]
        return allowances(self._tolerances, stored)

    def _is_own(self, device: str) -> bool:
        """Whether that is a device of this run: 'NVIDIA H200', or '2 x NVIDIA H200' where a model is split."""
        return device.endswith(self._product)

    def _courses(
        self, arms: Sequence[list[Cell]], sessions: Callable[[Cell], int], owner: Owner, places: int
    ) -> Iterator[Planned]:
        """The first sessions of all before the second ones, long ones first; cells of one arm apart if places wait.

        Those of a baseline stay together: its sessions are enough for all places, and which cells err together is read
        from the sessions that they share. A part of what is judged opens its strategy for all workloads of the run as
        well; that other cells are not measured in between is taken not to matter, as it is with -k and --perf-shard.
        """
        rounds = max((sessions(cell) for cells in arms for cell in cells), default=0)
        wanted = [[[cell for cell in cells if sessions(cell) > index] for cells in arms] for index in range(rounds)]
        began = {cell: owner.count(cell) for cells in arms for cell in cells}
        for index, groups in enumerate(wanted):
            parts = [group for group in groups if group]
            if places > 1:
                expected = self._expecting(owner)
                parts = parts if self._keeps_whole else cut(parts, places, expected)
                parts = longest_first(parts, expected)
            for cells in parts:
                session = index + max(began[cell] for cell in cells)
                yield Planned(course(owner, cells, session), tuple(cells))

    def _find_last_stored(self, cell: Cell) -> Recording | None:
        """By a device of this run; where there is none, another one tells which cells take long, too."""
        found = self._past(cell, self._is_own) or self._past(cell, lambda _: True)
        return found.recordings[-1] if found else None

    def _expecting(self, owner: Owner) -> Expected:
        """By the last session of each cell in this run, else by what is stored of an earlier one, if all are known."""

        def last(cell: Cell) -> Recording | None:
            own = owner.of(cell)
            return own[-1] if own else self._last_stored(cell)

        def expected(cells: Sequence[Cell]) -> int | None:
            known = [found for cell in cells if (found := last(cell))]
            if len(known) < len(cells):
                return None
            return session_ns(known, was_checked=owner.job(list(cells), 0).was_checked)

        return expected


def _rota(arms: Sequence[list[Cell]], owner: Owner) -> Rota:
    """Where the sessions that were kept of these cells were made, those of a run that is resumed among them."""
    cells = [cell for own in arms for cell in own]
    return Rota((cell, each.environment.noted.get("place", "")) for cell in cells for each in owner.of(cell))
