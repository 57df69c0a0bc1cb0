"""A place in a cluster whose Ray is scripted; a real cluster is in tests/plugin/test_cluster_run.py."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from perfsuite.core.codec import encode
from perfsuite.fleet.demand import Demand
from perfsuite.fleet.node import Answer, Facts
from perfsuite.fleet.place import Errand
from perfsuite.fleet.ray_place import WAITING, RayPlace
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.session import Progress
from tests.fleet.jobs import make_job

exceptions = pytest.importorskip("ray.exceptions")

DONE = encode(Answer(node="left", end=SessionEnd(refused="done")))
MAIL = "mail"


class Ray:
    """Tasks are numbers; `answers` are theirs in turn: a value, an error, or `None` while it still runs."""

    def __init__(self, *answers: Any, mail: Callable[[], list[Any]] = list) -> None:
        self.answers, self.mail = answers, mail
        self.given: list[int] = []
        self.cancelled: list[int] = []

    def remote(self, _: object) -> Any:
        def give(*_: object) -> int:
            self.given.append(len(self.given))
            return self.given[-1]

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=give))

    def wait(self, references: list[int], timeout: float) -> tuple[list[int], list[int]]:
        (task,) = references
        is_over = self.answers[task] is not None or task in self.cancelled
        return (references, []) if is_over else ([], references)

    def get(self, reference: Any, timeout: float = 0) -> Any:
        if reference == MAIL:
            return self.mail()
        if isinstance(self.answers[reference], Exception):
            raise self.answers[reference]
        return self.answers[reference]

    def cancel(self, reference: int, force: bool = False) -> None:
        self.cancelled.append(reference)


def place(ray: Ray, *, has_room: Callable[[], bool] = lambda: True) -> RayPlace:
    cluster: Any = SimpleNamespace(
        ray=ray,
        demand=Demand(gpus=0, has_all=True, resources={"CPU": 2}),
        expected=Facts(products=("cpu",)),
        names={},
        has_room=has_room,
    )
    mailbox = SimpleNamespace(take=SimpleNamespace(remote=lambda _: MAIL))
    return RayPlace(cluster, mailbox, "place 1")


def unheard(_: Progress) -> None:
    pass


def test_a_session_whose_node_is_lost_is_given_to_ray_again_and_the_run_says_so() -> None:
    ray = Ray(exceptions.WorkerCrashedError(), DONE)
    outcome = place(ray).run(Errand(job=make_job("Steady")), unheard, threading.Event())
    assert outcome.end == SessionEnd(refused="done")
    (note,) = outcome.notes
    assert note.endswith("; its session was given to another")


def test_a_task_that_is_given_up_is_ended_lest_it_runs_beside_the_one_that_takes_its_place() -> None:
    """It still ran when the connection to what hears of it broke."""
    mails = iter([ConnectionError("the connection is gone")])

    def mail() -> list[Any]:
        for error in mails:
            raise error
        return []

    ray = Ray(None, DONE, mail=mail)
    outcome = place(ray).run(Errand(job=make_job("Steady")), unheard, threading.Event())
    assert outcome.end == SessionEnd(refused="done")
    assert (ray.given, ray.cancelled) == ([0, 1], [0])


def test_a_task_without_a_node_that_could_run_it_does_not_wait_for_one_to_come() -> None:
    ray = Ray(None)
    outcome = place(ray, has_room=lambda: False).run(Errand(job=make_job("Steady")), unheard, threading.Event())
    assert outcome.end is not None
    assert str(outcome.end.died).endswith("(no node is left that could run it), and no other node is left for it")
    assert ray.cancelled == [0]


def test_a_connection_that_breaks_while_a_session_waits_for_a_node_fails_its_cells() -> None:
    def broken() -> bool:
        raise ConnectionError("the server is gone")

    outcome = place(Ray(None), has_room=broken).run(Errand(job=make_job("Steady")), unheard, threading.Event())
    assert outcome.end is not None
    assert "(the server is gone), and no other node is left for it" in str(outcome.end.died)


def test_a_mailbox_that_is_slow_costs_no_session() -> None:
    def slow() -> list[Any]:
        raise exceptions.GetTimeoutError("30 s")

    ray = Ray(DONE, mail=slow)
    outcome = place(ray).run(Errand(job=make_job("Steady")), unheard, threading.Event())
    assert (outcome.end, outcome.notes) == (SessionEnd(refused="done"), ())
    assert ray.given == [0]


class SlowMailbox:
    """Answers when it is asked for the third time what it was asked at first; each question empties it."""

    def __init__(self, *messages: Any) -> None:
        self._messages = list(messages)
        self._answers: list[list[Any]] = []
        self._waited = 0

    def take(self, _: str) -> int:
        self._answers.append(self._messages)
        self._messages = []
        return len(self._answers) - 1

    def answer(self, question: int) -> list[Any]:
        self._waited += 1
        if self._waited < 3:
            raise exceptions.GetTimeoutError("30 s")
        return self._answers[question]


class RayWithMailbox(Ray):
    """Its task is over once the mail has come."""

    def __init__(self, mailbox: SlowMailbox) -> None:
        super().__init__(None)
        self.mailbox = mailbox

    def get(self, reference: Any, timeout: float = 0) -> Any:
        if isinstance(reference, tuple):
            mail = self.mailbox.answer(reference[1])
            self.answers = (DONE,)
            return mail
        return super().get(reference, timeout)


def test_what_a_slow_mailbox_was_asked_for_is_heard_when_it_answers() -> None:
    """The session runs, on a node that is named there; that no other node has room is nothing to it."""
    mailbox, heard = SlowMailbox("left", encode(Progress(stage="load"))), []
    made = place(RayWithMailbox(mailbox), has_room=lambda: False)
    made._mailbox = SimpleNamespace(take=SimpleNamespace(remote=lambda key: (MAIL, mailbox.take(key))))
    outcome = made.run(Errand(job=make_job("Steady")), heard.append, threading.Event())
    assert outcome.end == SessionEnd(refused="done")
    assert [progress.stage for progress in heard] == [WAITING, "load"]


def test_a_run_that_stops_ends_its_task() -> None:
    ray, stop = Ray(None), threading.Event()
    stop.set()
    assert place(ray).run(Errand(job=make_job("Steady")), unheard, stop).end is None
    assert ray.cancelled == [0]
