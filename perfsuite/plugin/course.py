"""Owns the course of one session: what follows from how it ended, until each of its cells has been dealt with."""

from collections.abc import Generator, Mapping
from typing import Protocol

from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Environment, Recording
from perfsuite.fleet.dealing import Chain
from perfsuite.fleet.place import Errand
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.session import SessionJob
from perfsuite.report.progress import problem_of


class Keeper(Protocol):
    """Who knows what was measured; `keep` says which cells were set aside, to be measured once more."""

    def is_open(self, cell: Cell) -> bool: ...
    def job(self, cells: list[Cell], session: int) -> SessionJob: ...
    def keep(self, recordings: tuple[Recording, ...]) -> tuple[Cell, ...]: ...
    def accept(self, end: SessionEnd, cells: list[Cell], session: int) -> tuple[Cell, ...]: ...
    def fail(
        self, cells: list[Cell], session: int, stage: str, message: str, environment: Environment | None
    ) -> tuple[Cell, ...]: ...
    def accept_loss(
        self, end: SessionEnd, aside: Mapping[Cell, Recording], cells: list[Cell]
    ) -> tuple[Mapping[Cell, Recording], tuple[Cell, ...]]: ...
    def note(self, text: str) -> None: ...


def course(keeper: Keeper, cells: list[Cell], session: int, first: SessionEnd | None = None) -> Chain:
    """A session of all that are still open then, and one more of those that a disturbed machine spoilt.

    `first` is how it ended, if it was made already.
    """
    still = [cell for cell in cells if first is not None or keeper.is_open(cell)]
    disturbed = yield from _until_dealt_with(keeper, still, session, first, is_retry=False)
    again = [cell for cell in still if cell in disturbed]
    yield from _until_dealt_with(keeper, again, session, None, is_retry=True)


def _until_dealt_with(
    keeper: Keeper, cells: list[Cell], session: int, first: SessionEnd | None, *, is_retry: bool
) -> Generator[Errand, SessionEnd, set[Cell]]:
    """A session of all; cells that it was at when its process or its device went are left out of the next.

    The cells that were set aside, as the machine was disturbed.
    """
    aside: Mapping[Cell, Recording] = {}
    disturbed: set[Cell] = set()
    while cells:
        end, first = first or (yield Errand(job=keeper.job(cells, session), is_retry=is_retry)), None
        if end.lost and end.recordings:
            aside, spoilt = keeper.accept_loss(end, aside, cells)
            disturbed.update(spoilt)
            cells = list(aside)
            continue
        if aside and not end.recordings and end.culprit is None:
            disturbed.update(keeper.keep(tuple(aside[cell] for cell in cells)))
            keeper.note(f"{cells[0].id}: the fresh process failed as well: {problem_of(end)}")
            break
        if end.culprit is None or end.broken:
            disturbed.update(keeper.accept(end, cells, session))
            break
        keeper.fail([end.culprit], session, "worker", str(end.died), end.environment)
        cells = [cell for cell in cells if cell != end.culprit]
    return disturbed
