"""Owns a place in a Ray cluster: a session is a task with resource demands, and Ray finds the node for it.

A node that vanishes, or kills the task, costs the session its time only: it is given to Ray again.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from perfsuite.core.codec import CodecError, decode, encode
from perfsuite.fleet.cluster import Cluster, first_line, last_line
from perfsuite.fleet.demand import Wanted
from perfsuite.fleet.node import Answer, Task, run_task, travelling
from perfsuite.fleet.place import Errand, OnProgress, Outcome, Place
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.session import Progress

HEAD = "node:__internal_head__"
POLL_S, MAIL_S = 0.5, 30
MOST_LOSSES = 3
"""So many nodes may vanish under a session; then its cells fail."""
WAITING = "waiting for a node"


class Mailbox:
    """What sessions say while they run, by session; an actor beside the head of the cluster."""

    def __init__(self) -> None:
        self._messages: dict[str, list[Any]] = {}

    def put(self, key: str, message: Any) -> None:
        self._messages.setdefault(key, []).append(message)

    def take(self, key: str) -> list[Any]:
        """All since the last time."""
        return self._messages.pop(key, [])


def open_mailbox(cluster: Cluster) -> Any:
    """The one mailbox of a run; it lives on the head, whose loss ends the run anyway."""
    beside = {HEAD: 0.001} if any(HEAD in node.offers for node in cluster.nodes()) else {}
    return cluster.ray.remote(Mailbox).options(num_cpus=0, resources=beside).remote()


def run_remotely(told: Any, mailbox: Any, key: str) -> Any:
    """What Ray runs on a node."""
    import ray

    return run_task(told, ray.get_runtime_context().get_node_id(), lambda message: mailbox.put.remote(key, message))


class RayCluster:
    """The places of a cluster, as many as sessions may run at once."""

    def __init__(self, address: str, wanted: Wanted) -> None:
        self._cluster = Cluster(address, wanted)
        with self._cluster.closed_on_failure():
            mailbox = open_mailbox(self._cluster)
        self.places: tuple[Place, ...] = tuple(
            RayPlace(self._cluster, mailbox, f"place {number}") for number in range(1, self._cluster.slots + 1)
        )

    @property
    def words(self) -> str:
        """What the cluster was found to be, in one line."""
        found, demand = self._cluster, self._cluster.demand
        apart = "; a session has its node for itself" if demand.has_all else ""
        return (
            f"cluster: {found.expected.product} on {', '.join(sorted(found.names.values()))}; sessions at once: "
            f"{found.slots}, each asks for {demand.words}{apart}"
        )

    def close(self) -> None:
        self._cluster.close()


class RayPlace:
    """Room for one session somewhere in a cluster."""

    def __init__(self, cluster: Cluster, mailbox: Any, name: str) -> None:
        self._cluster, self._mailbox, self._name = cluster, mailbox, name
        self._tries = 0

    @property
    def name(self) -> str:
        return self._name

    def run(self, errand: Errand, on_progress: OnProgress, stop: threading.Event) -> Outcome:
        notes: list[str] = []
        for _ in range(MOST_LOSSES):
            attempt = _Attempt(self._cluster, self._mailbox, self._new_key(), on_progress, stop)
            try:
                answer = attempt.answer(errand)
            except _LostError as lost:
                what = f"{attempt.where} was lost under {errand.job.cells[0].id} ({lost})"
                if not self._cluster_has_room():
                    return Outcome(end=SessionEnd(died=f"{what}, and no other node is left for it"), notes=tuple(notes))
                notes.append(f"{what}; its session was given to another")
                continue
            if answer is None:
                return Outcome(end=None)
            end = SessionEnd(broken=f"node {answer.node}: {answer.differs}") if answer.differs else answer.end
            return Outcome(end=end, notes=(*notes, *answer.notes))
        return Outcome(end=SessionEnd(died=f"{MOST_LOSSES} nodes were lost under this session"), notes=tuple(notes))

    def _new_key(self) -> str:
        self._tries += 1
        return f"{self._name}/{self._tries}"

    def _cluster_has_room(self) -> bool:
        try:
            return self._cluster.has_room()
        except Exception:  # noqa: BLE001 - the border to Ray: who cannot say what is there has nothing
            return False


class _LostError(Exception):
    """The task went without an answer; the text says why."""


class _Attempt:
    """One task, from its being given to Ray to its answer."""

    def __init__(
        self, cluster: Cluster, mailbox: Any, key: str, on_progress: OnProgress, stop: threading.Event
    ) -> None:
        self._cluster, self._ray = cluster, cluster.ray
        self._mailbox, self._key, self._on_progress, self._stop = mailbox, key, on_progress, stop
        self._node = ""
        self._asked_for_mail: Any = None

    @property
    def where(self) -> str:
        return f"node {self._node}" if self._node else "a node"

    def answer(self, errand: Errand) -> Answer | None:
        """What the node answered, `None` if the run stopped the session. _LostError if there is no answer.

        A task that nobody waits for any more is ended: it must not run later, or beside the one that takes its place.
        """
        self._on_progress(Progress(stage=WAITING))
        reference = self._submit(errand)
        try:
            while not self._guarded(lambda: self._ray.wait([reference], timeout=POLL_S)[0]):
                if self._stop.is_set():
                    self._cancel(reference)
                    return None
                self._hear()
            self._hear()
            return self._decoded(self._guarded(lambda: self._ray.get(reference)))
        except (KeyboardInterrupt, _LostError):
            self._cancel(reference)
            raise

    def _submit(self, errand: Errand) -> Any:
        demand = self._cluster.demand
        task = Task(
            job=errand.job,
            is_retry=errand.is_retry,
            gpus=demand.gpus,
            has_all=demand.has_all,
            expected=self._cluster.expected,
            names=self._cluster.names,
            variables=travelling(),
        )
        remote = self._ray.remote(run_remotely).options(max_retries=0, scheduling_strategy="SPREAD", **demand.options)
        return self._guarded(lambda: remote.remote(encode(task), self._mailbox, self._key))

    def _hear(self) -> None:
        for message in self._guarded(self._take_mail):
            if isinstance(message, str):
                self._node = message
            else:
                self._on_progress(decode(Progress, message, where="progress"))
        is_waiting = not self._node and self._asked_for_mail is None
        if is_waiting and not self._guarded(self._cluster.has_room):
            raise _LostError("no node is left that could run it")

    def _take_mail(self) -> Any:
        """What the session said since the last time; nothing while the mailbox is too busy to answer.

        It is asked once and waited for again then: an answer that nobody took would be gone, the node's name with it.
        """
        from ray import exceptions

        if self._asked_for_mail is None:
            self._asked_for_mail = self._mailbox.take.remote(self._key)
        try:
            mail = self._ray.get(self._asked_for_mail, timeout=MAIL_S)
        except exceptions.GetTimeoutError:
            return []
        self._asked_for_mail = None
        return mail

    def _decoded(self, told: Any) -> Answer:
        try:
            return decode(Answer, told, where="answer")
        except CodecError as error:
            return Answer(node=self._node, end=SessionEnd(broken=f"{self.where} answered something else: {error}"))

    def _guarded(self, question: Callable[[], Any]) -> Any:
        """Ray's answer; _LostError if it lost the task, and an answer of our own for what broke inside of it."""
        from ray import exceptions

        try:
            return question()
        except exceptions.RayTaskError as error:
            return encode(Answer(node=self._node, end=SessionEnd(broken=f"{self.where}: {last_line(error)}")))
        except (exceptions.RayError, ConnectionError, RuntimeError, OSError) as error:
            raise _LostError(first_line(error)) from error

    def _cancel(self, reference: Any) -> None:
        """The task's process ends its session on the way out; one that does not is killed, and its session with it."""
        with suppress(Exception):
            self._ray.cancel(reference)
            if not self._ray.wait([reference], timeout=10)[0]:
                self._ray.cancel(reference, force=True)
