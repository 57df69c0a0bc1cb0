"""Owns a session as seen from the run: give a worker its job, follow its events, and say how it ended."""

import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO

from perfsuite.core.codec import decode, encode
from perfsuite.core.errors import one_line
from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Environment, Recording
from perfsuite.core.sampling_check import SamplingCheck
from perfsuite.core.units import to_s
from perfsuite.measure.last_words import death, output
from perfsuite.measure.recipe import OWN, Recipe
from perfsuite.measure.session import Event, Progress, SessionJob
from perfsuite.measure.turns import Turn
from perfsuite.measure.worker_process import WorkerProcess, running


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnd:
    """How a session ended: with recordings, or with one of the texts that says why not.

    `lost` says by what the worker lost its device, at `culprit`; there are recordings of what it measured before.

    `refused`, `unavailable` and `broken` are the worker's own words (see Event); `died` means that the process was
    killed, crashed or hung while it worked on `culprit` (`None`: while the strategy opened). `output` is the end of
    what a worker that broke or died has written.
    """

    recordings: tuple[Recording, ...] = ()
    environment: Environment | None = None
    refused: str | None = None
    unavailable: str | None = None
    broken: str | None = None
    died: str | None = None
    lost: str | None = None
    culprit: Cell | None = None
    output: str = ""


def run_session(
    job: SessionJob,
    on_progress: Callable[[Progress], None],
    recipe: Recipe = OWN,
    stop: threading.Event | None = None,
) -> SessionEnd:
    """Run `job` in a fresh process and wait for it; whatever happens to the process, no process is left behind.

    SessionStoppedError once `stop` is set.
    """
    with started(job, on_progress, recipe, stop) as worker:
        end = worker.follow()
    if end is None:
        raise RuntimeError("a session of its own waits for no turn")
    return end


@contextmanager
def started(
    job: SessionJob,
    on_progress: Callable[[Progress], None],
    recipe: Recipe = OWN,
    stop: threading.Event | None = None,
) -> Iterator["Worker"]:
    """A fresh process at work on `job`; no process is left behind. Following it ends when `stop` is set."""
    with tempfile.TemporaryFile() as log, running(recipe, log) as process:
        process.tell(json.dumps(encode(job)))
        yield Worker(job, process, log, on_progress, stop)


class Worker:
    """A session's process, as far as its events tell of it."""

    def __init__(
        self,
        job: SessionJob,
        process: WorkerProcess,
        log: IO[bytes],
        on_progress: Callable[[Progress], None],
        stop: threading.Event | None = None,
    ) -> None:
        self._job, self._process, self._log, self._on_progress = job, process, log, on_progress
        self._stop = stop or threading.Event()
        self._environment: Environment | None = None
        self._lost: str | None = None
        self._measured: tuple[Recording, ...] = ()
        self._last = Progress(stage="start")
        self.request_ns: tuple[int, ...] = ()
        """What a one-token request of each cell takes, as the worker said when it last waited for its turn."""

    def give_turn(self, count: int = 1, turn: Turn | None = None) -> None:
        """Let a worker that waits for its turn go on, and as many times more as it is told."""
        self._process.tell("\n".join([turn.line if turn else ""] * count))

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.has_ended

    def hold(self) -> None:
        """Stop the worker and its children where they are, until `go_on`."""
        self._process.hold()

    def go_on(self) -> None:
        self._process.go_on()

    def follow(self) -> SessionEnd | None:
        """How the session ended; `None` if it is waiting for its turn.

        SessionStoppedError if the run wants it to end.
        """
        while True:
            patience_s = to_s(self._job.measure.silence_of(self._last.stage))
            line = self._process.next_line(patience_s, self._stop)
            event = _understood(line) if line else None
            if event is not None and event.waiting is not None:
                self.request_ns = event.waiting.request_ns
                return None
            if event is None or not (event.progress or event.environment or event.lost or event.measured):
                return self._ended(event, hung=line is None)
            self._environment, self._lost = event.environment or self._environment, event.lost or self._lost
            self._measured = event.measured or self._measured
            if event.progress is not None:
                self._last = event.progress
                self._on_progress(event.progress)

    def _ended(self, event: Event | None, *, hung: bool) -> SessionEnd:
        environment, lost = self._environment, self._lost
        culprit = self._job.cells[self._last.cell] if self._last.cell is not None else None
        if event is not None:
            self._process.let_close()
            told = replace(_told_end(event, environment), output=output(self._log) if event.broken else "")
            return replace(told, lost=lost, culprit=culprit) if lost else told
        died = death(self._process.process, self._log, self._last, self._job, hung)
        written = output(self._log)
        if self._measured:
            unchecked = SamplingCheck(not_checked=died)
            kept = tuple(replace(recording, sampling=unchecked) for recording in self._measured)
            return SessionEnd(recordings=kept, environment=environment, output=written)
        return SessionEnd(died=died, lost=lost, environment=environment, culprit=culprit, output=written)


def _understood(line: str) -> Event:
    """What the worker says; where a strategy of one's own put in what cannot be, that the session broke of it."""
    try:
        return decode(Event, json.loads(line), where="worker event")
    except ValueError as error:
        return Event(broken=f"the strategy gave what cannot be stored: {one_line(error)}")


def _told_end(event: Event, environment: Environment | None) -> SessionEnd:
    return SessionEnd(
        recordings=event.recordings or (),
        environment=environment,
        refused=event.refused,
        unavailable=event.unavailable,
        broken=event.broken,
    )
