"""Sessions are dealt to free places; places and sessions are scripted, threads are real."""

import threading
from collections.abc import Iterator

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.fleet.dealing import Chain
from perfsuite.fleet.place import Errand, Outcome
from perfsuite.measure.session import SessionJob
from tests.fleet.scripted_places import DONE, PATIENCE_S, Listener, Scripted, chain, deal, job


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
