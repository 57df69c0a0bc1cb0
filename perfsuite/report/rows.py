"""Owns a table's row as a value: one cell, its sessions and the summaries of their pooled samples."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import SERIES
from perfsuite.core.recording import Recording
from perfsuite.core.statistics import summarize
from perfsuite.core.summary import Summary
from perfsuite.core.workload import Workload

RecordingsByCell = Mapping[Cell, Sequence[Recording]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One cell, its sessions and what its samples say of each series; a series without values is absent."""

    cell: Cell
    recordings: tuple[Recording, ...]
    summaries: Mapping[str, Summary]

    @property
    def prompt_tokens(self) -> int:
        return self.cell.workload.prompt_tokens

    @property
    def startup_ns(self) -> float | None:
        """Median of the sessions' startup, all phases together."""
        times = [recording.startup_ns for recording in self.recordings if recording.startup]
        return median(times) if times else None

    @property
    def memory(self) -> int | None:
        """The most bytes any of the sessions took."""
        return max((r.memory.headline for r in self.recordings if r.memory.headline is not None), default=None)


def pooled(recordings: Sequence[Recording]) -> dict[str, Summary]:
    """A summary per series over the samples of all these sessions, in nanoseconds."""
    values = {name: [v for r in recordings for v in series.values(r)] for name, series in SERIES.items()}
    together = max((recording.together for recording in recordings), default=1)
    return {name: summarize(items, together=together) for name, items in values.items() if items}


def rows_of(recordings: RecordingsByCell) -> list[Row]:
    """One row per cell that has a recording, in the order given."""
    return [Row(cell=c, recordings=tuple(held), summaries=pooled(held)) for c, held in recordings.items() if held]


def shape(workload: Workload) -> Workload:
    """What the rows of one table share: everything but the prompt's length."""
    return replace(workload, prompt_tokens=1)


def grouped(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> list[list[Row]]:
    """The rows by key, keys in order of appearance, shortest prompt first."""
    groups: dict[Hashable, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return [sorted(group, key=lambda row: row.prompt_tokens) for group in groups.values()]
