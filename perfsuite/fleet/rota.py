"""Owns which cells were measured where, so that the sessions of each are spread over the places."""

from collections import Counter
from collections.abc import Iterable, Sequence

from perfsuite.core.matrix import Cell
from perfsuite.fleet.place import Place


class Rota:
    """How many sessions of each cell every place has made, or is making; `made` are those of before, by place."""

    def __init__(self, made: Iterable[tuple[Cell, str]] = ()) -> None:
        self._sessions = Counter(made)

    def note(self, cells: Iterable[Cell], place: Place) -> None:
        """A session of these begins there."""
        self._sessions.update((cell, place.name) for cell in cells)

    def best(self, cells: Sequence[Cell], places: Iterable[Place]) -> Place:
        """Of these the place that has made the fewest sessions of these cells, of several the first."""
        return min(places, key=lambda place: self._count(cells, place))

    def suits(self, cells: Sequence[Cell], free: Sequence[Place], places: Iterable[Place]) -> bool:
        """Whether one of those that are free has made no more sessions of these cells than any other place."""
        return min(self._count(cells, place) for place in free) <= min(self._count(cells, each) for each in places)

    def _count(self, cells: Sequence[Cell], place: Place) -> int:
        return sum(self._sessions[cell, place.name] for cell in cells)
