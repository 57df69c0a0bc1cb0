"""Owns the stored baseline of one cell as a value: which sessions it holds and what it may be compared with."""

from dataclasses import dataclass

from perfsuite.core.errors import BaselineError
from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Environment, Recording

SCHEMA = 1
"""Number of the stored layout; a reader refuses every other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The sessions later runs are compared with, raw samples and all.

    `commit` is the revision of the code that was measured ('unknown' outside a checkout), `saved_at` ISO 8601 in UTC.
    """

    cell: Cell
    commit: str
    saved_at: str
    recordings: tuple[Recording, ...]

    def __post_init__(self) -> None:
        if not self.recordings:
            raise BaselineError(f"{self.cell.id}: a baseline needs at least one session")
        for recording in self.recordings[1:]:
            differing = self.environment.differences(recording.environment)
            if differing:
                raise BaselineError(f"{self.cell.id}: sessions of two environments are mixed ({'; '.join(differing)})")

    @property
    def environment(self) -> Environment:
        return self.recordings[0].environment

    def mismatches(self, recording: Recording, *, ignore: frozenset[str] = frozenset()) -> tuple[str, ...]:
        """Why `recording` cannot be judged by this baseline, one phrase per difference; empty if it can."""
        return (
            *_cell_differences(self.cell, recording.cell),
            *recording.environment.differences(self.environment, ignore=ignore),
        )


def _cell_differences(stored: Cell, measured: Cell) -> tuple[str, ...]:
    pairs = (
        ("strategy", stored.strategy_slug, measured.strategy_slug),
        ("model", stored.model.slug, measured.model.slug),
        ("load format", stored.model.load_format, measured.model.load_format),
        ("revision", stored.model.revision, measured.model.revision),
        ("workload", stored.workload, measured.workload),
    )
    return tuple(f"{name}: {there!r} there, {here!r} here" for name, there, here in pairs if there != here)
