"""Parting from ranks lasts no longer than it may, and no step of it meets itself."""

import sys
import threading

import pytest

from perfsuite.models import ranks
from perfsuite.strategies import _parting
from perfsuite.strategies._parting import Parting
from tests.strategies.ranks import opened_on


@pytest.fixture
def hanging(monkeypatch):
    """Leaving the group of ranks does not come to an end until it may; each call is noted."""
    calls, go_on, leave = [], threading.Event(), ranks.leave

    def hang():
        calls.append(threading.current_thread())
        go_on.wait()
        leave()

    monkeypatch.setattr(ranks, "leave", hang)
    monkeypatch.setattr(_parting, "PARTING_S", 0.1)
    yield calls
    go_on.set()
    for thread in calls:
        thread.join()
    assert ranks.world_size() == 1


@pytest.mark.skipif(sys.platform == "win32", reason="ranks find each other by local sockets")
def test_a_group_that_does_not_end_is_not_left_twice_at_a_time(hanging):
    with opened_on(2):
        pass
    assert len(hanging) == 1


def test_a_step_that_has_ended_may_come_again(monkeypatch):
    calls = []
    monkeypatch.setattr(ranks, "give_up", lambda: calls.append("give up"))
    parting = Parting(lambda: None)
    parting.give_up()
    parting.give_up()
    assert calls == ["give up"] * 2


def test_getting_away_gives_the_ranks_up_and_releases_graphs_at_the_same_time(monkeypatch):
    """Neither ends before the other."""
    meeting = threading.Barrier(3, timeout=60)

    def give_up():
        meeting.wait()

    monkeypatch.setattr(ranks, "give_up", give_up)
    Parting(meeting.wait).get_away()
    meeting.wait()


@pytest.mark.parametrize("error", [KeyError("group"), ValueError(), AssertionError(), RuntimeError()])
def test_what_torch_says_of_a_group_that_another_step_ends_is_no_traceback(monkeypatch, error):
    told = []

    def fail():
        raise error

    monkeypatch.setattr(threading, "excepthook", told.append)
    monkeypatch.setattr(ranks, "leave", fail)
    Parting(lambda: None).leave()
    assert told == []
