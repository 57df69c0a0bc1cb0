"""Places and sessions that are scripted."""

import threading
from collections.abc import Iterable, Sequence

from perfsuite.core.options import MeasureOptions
from perfsuite.fleet.dealing import Chain, Planned
from perfsuite.fleet.dealing import deal as deal_planned
from perfsuite.fleet.place import Errand, Outcome, Place
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


def deal(chains: Iterable[Chain], places: Sequence[Place], listener: Listener) -> None:
    deal_planned(map(Planned, chains), places, listener)
