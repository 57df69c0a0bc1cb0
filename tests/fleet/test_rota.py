"""Sessions of a cell are spread over the places; places and sessions are scripted, threads are real."""

import threading
from dataclasses import replace
from functools import partial

from perfsuite.core.matrix import Cell
from perfsuite.fleet.dealing import Chain, Planned, deal
from perfsuite.fleet.place import Errand, Outcome
from perfsuite.fleet.rota import Rota
from perfsuite.measure.session import SessionJob
from tests.builders import make_cell
from tests.fleet.scripted_places import DONE, PATIENCE_S, Listener, Scripted, job


def dealt_together(rota: Rota, *cells: Cell) -> dict[str, str]:
    """On which of two free places a session of each cell was made."""
    all_there = threading.Barrier(len(cells))

    class Together(Scripted):
        def run(self, errand: Errand, on_progress, stop: threading.Event) -> Outcome:
            all_there.wait(PATIENCE_S)
            return DONE

    found: dict[str, str] = {}

    class Noting(Listener):
        def began(self, job: SessionJob, place: str) -> None:
            found[job.cells[0].strategy] = place

    deal([of(cell) for cell in cells], [Together("a"), Together("b")], Noting(), rota)
    return found


def of(cell: Cell) -> Planned:
    def chain() -> Chain:
        yield Errand(job=replace(job(0), cells=(cell,)))

    return Planned(chain(), (cell,))


EAGER, JIT = make_cell("eager"), make_cell("jit")


def test_the_next_round_begins_on_another_place() -> None:
    """Two strategies of which each would always be measured on its own device seem slower if that is."""
    rota = Rota()
    assert [dealt_together(rota, EAGER, JIT) for _ in range(3)] == [
        {"eager": "a", "jit": "b"},
        {"eager": "b", "jit": "a"},
        {"eager": "a", "jit": "b"},
    ]


def test_of_two_strategies_the_one_that_needs_another_session_gets_it_on_the_other_place() -> None:
    rota = Rota()
    assert dealt_together(rota, EAGER, JIT) == {"eager": "a", "jit": "b"}
    assert dealt_together(rota, JIT) == {"jit": "a"}


def test_strategies_whose_order_changes_from_round_to_round_change_their_places_all_the_same() -> None:
    rota, rounds = Rota(), ((EAGER, JIT), (JIT, EAGER), (EAGER, JIT))
    found = [dealt_together(rota, *cells) for cells in rounds]
    assert [each["eager"] for each in found] == ["a", "b", "a"]
    assert [each["jit"] for each in found] == ["b", "a", "b"]


def test_where_one_place_is_free_at_a_time_what_waits_there_is_what_was_measured_elsewhere() -> None:
    """Both strategies take as long, and place a is always the first of the two to become free."""
    a, b = Scripted("a"), Scripted("b")
    turns = {"a": threading.Semaphore(1), "b": threading.Semaphore(0)}

    def run(self: Scripted, errand: Errand, on_progress, stop: threading.Event) -> Outcome:
        assert turns[self.name].acquire(timeout=PATIENCE_S)
        return DONE

    found: list[tuple[str, str]] = []

    class InTurns(Listener):
        def began(self, job: SessionJob, place: str) -> None:
            found.append((job.cells[0].strategy, place))
            if len(found) > 2:  # a session began where one has ended: now the other place's may end
                turns["b" if place == "a" else "a"].release()
            if len(found) == 8:  # the last: nothing else will let it end
                turns[place].release()

    for place in (a, b):
        place.run = partial(run, place)  # type: ignore[method-assign]
    deal([of(cell) for _ in range(4) for cell in (EAGER, JIT)], [a, b], InTurns())
    for strategy in ("eager", "jit"):
        assert sorted(place for name, place in found if name == strategy) == ["a", "a", "b", "b"]


def test_sessions_of_an_earlier_deal_count() -> None:
    rota = Rota([(EAGER, "a"), (EAGER, "a"), (JIT, "b")])
    assert dealt_together(rota, JIT, EAGER) == {"eager": "b", "jit": "a"}
