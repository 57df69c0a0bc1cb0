"""Owns where a session is run: a place runs one session at a time and says how it ended and that it was here."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

from perfsuite.core.recording import Environment
from perfsuite.measure.launcher import SessionEnd, run_session
from perfsuite.measure.recipe import OWN, Recipe
from perfsuite.measure.session import Progress, SessionJob
from perfsuite.measure.settling import Look, Settling, look_at, look_at_all
from perfsuite.measure.worker_process import SessionStoppedError

UNKNOWN = Environment(device="unknown", must_agree={}, noted={})
OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A session to be made; `is_retry` if the machine was disturbed before and is to be calm now."""

    job: SessionJob
    is_retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a session ended, `None` if the run stopped it; `notes` are lines on the place, said once."""

    end: SessionEnd | None
    notes: tuple[str, ...] = ()


class Place(Protocol):
    """Runs one session at a time; `name` ('cuda:1') is for people, '' for the only one."""

    @property
    def name(self) -> str: ...
    def run(self, errand: Errand, on_progress: OnProgress, stop: threading.Event) -> Outcome: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A part of this host that sessions may have for themselves: the way their processes are started.

    `gpus` are the UUIDs of its GPUs, `None` if every GPU of the host is its. `product` is what makes two seats alike.
    """

    name: str = ""
    product: str = ""
    gpus: tuple[str, ...] | None = None
    variables: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    cores: tuple[int, ...] = ()

    @property
    def recipe(self) -> Recipe:
        return replace(OWN, variables=self.variables, cores=self.cores)

    @property
    def noted(self) -> Mapping[str, str]:
        """What each recording says of the place that made it."""
        place = {"place": self.name} if self.name else {}
        return {**place, **({"cores": ",".join(map(str, self.cores))} if self.cores else {})}

    @property
    def look(self) -> Look:
        """How to see what its GPUs are like."""
        gpus = self.gpus
        return look_at_all if gpus is None else lambda: look_at(gpus)


class LocalPlace:
    """A seat of this host; it waits for its GPUs' memory behind a session, and for calm before a retry."""

    def __init__(self, seat: Seat, noted: Mapping[str, str] | None = None) -> None:
        self.seat = seat
        self._noted = {**seat.noted, **(noted or {})}
        self._stop = threading.Event()
        self._settling = Settling(seat.look, self._pause)

    @property
    def name(self) -> str:
        return self.seat.name

    def run(self, errand: Errand, on_progress: OnProgress, stop: threading.Event) -> Outcome:
        self._stop = stop
        if errand.is_retry:
            self._settling.before_retry()
        try:
            end = run_session(errand.job, on_progress, self.seat.recipe, stop)
        except SessionStoppedError:
            return Outcome(end=None)
        return Outcome(end=marked(end, self._noted), notes=self.settle())

    def settle(self) -> tuple[str, ...]:
        """Wait until the memory of a session that ended is back; lines on what is still held."""
        held = self._settling.after_session()
        return (held,) if held else ()

    def _pause(self, duration_ns: int) -> None:
        self._stop.wait(duration_ns / 1e9)


def marked(end: SessionEnd, noted: Mapping[str, str]) -> SessionEnd:
    """The same end, whose recordings say where they were made."""
    if not noted:
        return end
    recordings = tuple(replace(each, environment=_with(each.environment, noted)) for each in end.recordings)
    return replace(end, recordings=recordings, environment=_with(end.environment or UNKNOWN, noted))


def _with(environment: Environment, noted: Mapping[str, str]) -> Environment:
    return replace(environment, noted={**environment.noted, **noted})
