"""Owns the stored baseline of one cell as a value: which sessions it holds and what it may be compared with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from perfsuite.core.canary import RAW, Mode
from perfsuite.core.errors import BaselineError
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import Metric, parse_metric
from perfsuite.core.recording import Environment, Recording

UNKNOWN_COMMIT = "unknown"
"""The revision of a baseline that was made outside a checkout, or of several."""
SCHEMA = 5
"""Number of the stored layout. Layout 1, without canaries, is read as well: its sessions are judged raw; layout 2,
without rooflines: the floors of its samples are not known; layout 3, without a monitor: nobody knows its clocks; and
layout 4, in which requests that were sent together have no times of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The sessions later runs are compared with, raw samples and all.

    `commit` is the revision of the code that was measured, `saved_at` ISO 8601 in UTC.
    `modes` say by metric key what its samples are divided by, raw where nothing is said. `later` are sessions of later
    runs that passed: they tell of the noise, never of the level.
    """

    cell: Cell
    commit: str
    saved_at: str
    recordings: tuple[Recording, ...]
    modes: Mapping[str, Mode] = field(default_factory=lambda: MappingProxyType({}))
    later: tuple[Recording, ...] = ()

    def __post_init__(self) -> None:
        if not self.recordings:
            raise BaselineError(f"{self.cell.id}: a baseline needs at least one session")
        for key in self.modes:
            parse_metric(key, where=f"{self.cell.id}: modes")
        for recording in (*self.recordings[1:], *self.later):
            differing = (
                *self.environment.differences(recording.environment),
                *recording.evidence.differences(self.recordings[0].evidence),
            )
            if differing:
                raise BaselineError(f"{self.cell.id}: sessions of two environments are mixed ({'; '.join(differing)})")

    @property
    def environment(self) -> Environment:
        return self.recordings[0].environment

    def mode(self, metric: Metric) -> Mode:
        """What the samples of a metric are divided by, on both sides of a comparison."""
        return self.modes.get(metric.key, RAW)

    def mismatches(self, recording: Recording, *, ignore: frozenset[str] = frozenset()) -> tuple[str, ...]:
        """Why `recording` cannot be judged by this baseline, one phrase per difference; empty if it can."""
        return (
            *_cell_differences(self.cell, recording.cell),
            *recording.environment.differences(self.environment, ignore=ignore),
            *(recording.evidence.differences(self.recordings[0].evidence) if recording.samples else ()),
            *(_course_differences(self.recordings[0], recording) if recording.samples else ()),
        )


def _course_differences(stored: Recording, measured: Recording) -> tuple[str, ...]:
    """Layouts before 5 know of requests sent together only when the slowest had each token."""
    both = (stored, measured)
    times = ["of each request" if each.together > 1 else "of all rows" for each in both]
    turns = ["in turns" if each.beside else "by itself" for each in both]
    pairs = (("times", *times), ("measured", *turns))
    return tuple(f"{name}: {there} there, {here} here" for name, there, here in pairs if there != here)


def _cell_differences(stored: Cell, measured: Cell) -> tuple[str, ...]:
    pairs = (
        ("strategy", stored.strategy_slug, measured.strategy_slug),
        ("model", stored.model.slug, measured.model.slug),
        ("load format", stored.model.load_format, measured.model.load_format),
        ("revision", stored.model.revision, measured.model.revision),
        ("workload", stored.workload, measured.workload),
    )
    return tuple(f"{name}: {there!r} there, {here!r} here" for name, there, here in pairs if there != here)
