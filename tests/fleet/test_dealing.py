"""Sessions are dealt to free places; places and sessions are scripted, threads are real."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.fleet.dealing import Chain, Planned
from perfsuite.fleet.dealing import deal as deal_planned
from perfsuite.fleet.place import Errand, Outcome, Place
from perfsuite.fleet.rota import Rota
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.session import Progress, SessionJob
from tests.builders import make_cell

DONE = Outcome(end=SessionEnd(refused="done"))
PATIENCE_S = 30


def job(session: int) -> SessionJob:
    return SessionJob(reference="x:Y", cells=(make_cell(),), session=session, measure=MeasureOptions())


def chain(*sessions: int, seen: list[int] | None = None) -> Chain:
    """One session after the other."""
    for session in sessions:
        yield Errand(job=job(session))
        if seen is not None:
            seen.append(session)


class Listener:
    def __init__(self) -> None:
        self.began_on: list[tuple[int, str]] = []
        self.told: list[tuple[int, str]] = []
        self.finished: list[int] = []
        self.threads: set[int] = set()

    def began(self, job: SessionJob, place: str) -> None:
        self.began_on.append((job.session, place))

    def progressed(self, job: SessionJob, progress: Progress) -> None:
        self.threads.add(threading.get_ident())
        self.told.append((job.session, progress.stage))

    def ended(self, job: SessionJob, outcome: Outcome) -> None:
        self.threads.add(threading.get_ident())
        self.finished.append(job.session)


def deal(chains: Iterable[Chain], places: Sequence[Place], listener: "Listener") -> None:
    deal_planned(map(Planned, chains), places, listener)


class Scripted:
    """A place that runs what it is given at once, unless `held` keeps it until somebody lets it go or stops it."""

    def __init__(self, name: str, held: bool = False) -> None:
        self.name = name
        self.here, self.let_go = threading.Event(), threading.Event()
        self.at_once = self.most_at_once = 0
        if not held:
            self.let_go.set()

    def run(self, errand: Errand, on_progress, stop: threading.Event) -> Outcome:
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        on_progress(Progress(stage="load"))
        self.here.set()
        while not self.let_go.wait(0.01):
            if stop.is_set():
                return Outcome(end=None)
        self.at_once -= 1
        return DONE


def test_every_session_runs_once_and_one_at_a_time_on_each_place() -> None:
    places, listener = [Scripted("a"), Scripted("b"), Scripted("c")], Listener()
    deal([chain(index) for index in range(20)], places, listener)
    assert sorted(listener.finished) == list(range(20))
    assert [place.most_at_once for place in places if place.most_at_once] == [1] * len(
        {p for _, p in listener.began_on}
    )


def test_what_is_said_is_heard_by_the_thread_that_deals() -> None:
    listener = Listener()
    deal([chain(0), chain(1)], [Scripted("a"), Scripted("b")], listener)
    assert listener.threads == {threading.get_ident()}
    assert sorted(listener.told) == [(0, "load"), (1, "load")]


def test_with_one_place_sessions_keep_their_order_and_a_chain_goes_on_before_the_next_begins() -> None:
    listener = Listener()
    deal([chain(0, 1), chain(2), chain(3, 4, 5)], [Scripted("only")], listener)
    assert listener.finished == [0, 1, 2, 3, 4, 5]


def test_a_place_that_is_free_is_used_while_another_is_busy() -> None:
    slow, quick = Scripted("slow", held=True), Scripted("quick")

    class LetsGo(Listener):
        def ended(self, job: SessionJob, outcome: Outcome) -> None:
            super().ended(job, outcome)
            if len(self.finished) == 4:
                slow.let_go.set()

    listener = LetsGo()
    deal([chain(index) for index in range(5)], [slow, quick], listener)
    assert listener.began_on[0] == (0, "slow")
    assert [place for session, place in listener.began_on if session] == ["quick"] * 4
    assert listener.finished == [1, 2, 3, 4, 0]


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

    deal_planned([of(cell) for cell in cells], [Together("a"), Together("b")], Noting(), rota)
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
    deal_planned([of(cell) for _ in range(4) for cell in (EAGER, JIT)], [a, b], InTurns())
    for strategy in ("eager", "jit"):
        assert sorted(place for name, place in found if name == strategy) == ["a", "a", "b", "b"]


def test_sessions_of_an_earlier_deal_count() -> None:
    rota = Rota([(EAGER, "a"), (EAGER, "a"), (JIT, "b")])
    assert dealt_together(rota, JIT, EAGER) == {"eager": "b", "jit": "a"}


def test_a_chain_that_has_nothing_to_do_any_more_takes_no_place() -> None:
    def nothing() -> Chain:
        yield from ()

    listener = Listener()
    deal([nothing(), chain(1), nothing()], [Scripted("only")], listener)
    assert listener.finished == [1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OptionError])
def test_what_ends_the_run_stops_the_sessions_under_way_and_keeps_those_that_ended(error) -> None:
    held, quick = Scripted("held", held=True), Scripted("quick")
    seen: list[int] = []

    class Interrupted(Listener):
        def ended(self, job: SessionJob, outcome: Outcome) -> None:
            super().ended(job, outcome)
            if job.session == 2:
                assert held.here.wait(PATIENCE_S)
                raise error("now")

    with pytest.raises(error):
        deal([chain(0, seen=seen), chain(1, seen=seen), chain(2, 3)], [held, quick], Interrupted())
    assert seen == [1]


def test_a_session_that_ended_while_the_run_was_stopped_is_still_handed_to_its_chain() -> None:
    both = threading.Barrier(2)
    seen: list[int] = []

    class Together(Scripted):
        def run(self, errand: Errand, on_progress, stop: threading.Event) -> Outcome:
            both.wait(PATIENCE_S)
            return DONE

    class Interrupted(Listener):
        def ended(self, job: SessionJob, outcome: Outcome) -> None:
            super().ended(job, outcome)
            if len(self.finished) == 1:
                raise KeyboardInterrupt

    listener = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        deal([chain(0, seen=seen), chain(1, seen=seen)], [Together("a"), Together("b")], listener)
    assert sorted(seen) == sorted(listener.finished) == [0, 1], (
        "the one whose end was told when Ctrl-C came counts as well"
    )


def test_what_breaks_a_place_ends_the_dealing() -> None:
    class Broken(Scripted):
        def run(self, errand: Errand, on_progress, stop: threading.Event) -> Outcome:
            raise OptionError("no such cluster")

    with pytest.raises(OptionError, match="no such cluster"):
        deal([chain(0)], [Broken("a")], Listener())


def test_a_chain_is_asked_for_its_session_when_a_place_is_free() -> None:
    finished: list[int] = []

    def asks() -> Iterator[Errand]:
        assert finished == [0]
        yield Errand(job=job(1))

    class Noting(Listener):
        def ended(self, job: SessionJob, outcome: Outcome) -> None:
            finished.append(job.session)

    deal([chain(0), asks()], [Scripted("only")], Noting())  # type: ignore[list-item]
    assert finished == [0, 1]
