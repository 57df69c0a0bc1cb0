"""Owns the twin sessions of one comparison: pairs of processes, what they handed back, and what broke."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np

from perfsuite import runs
from perfsuite.arms.arm import Arm
from perfsuite.core.errors import BaselineError, OptionError
from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.recording import Recording
from perfsuite.core.twin import Evidence, TwinSession
from perfsuite.core.verdict import Outcome
from perfsuite.core.workload import Workload
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.pair import Ends, Launch, lacked_room, run_in_turns, run_one_by_one
from perfsuite.measure.recipe import Recipe
from perfsuite.measure.session import SessionJob
from perfsuite.measure.settling import Settling
from perfsuite.plugin.progress import ProgressDisplay
from perfsuite.plugin.settings import Settings

BLOCK = 5
"""One-token requests in a turn at most; fewer where they are long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One arm of a comparison, and what a cell of the run is to it."""

    arm: Arm
    cell: Callable[[Cell], Cell] = lambda cell: cell
    variables: Mapping[str, str] = field(default_factory=dict)
    slowdown: float = 0.0

    @property
    def label(self) -> str:
        return self.arm.label

    @property
    def recipe(self) -> Recipe:
        return replace(self.arm.recipe, variables={**self.arm.recipe.variables, **self.variables})


@dataclass(slots=True)
class _Taken:
    same: list[TwinSession] = field(default_factory=list)
    changed: list[TwinSession] = field(default_factory=list)


class TwinSessions:
    """Makes twin sessions and keeps every recording of both arms in memory and on disk as soon as it is there."""

    def __init__(
        self,
        old: Side,
        new: Side,
        *,
        settings: Settings,
        display: ProgressDisplay,
        run: runs.Run,
        workloads_beside: Callable[[Cell], tuple[Workload, ...]],
        same: Mapping[Cell, tuple[TwinSession, ...]] | None = None,
    ) -> None:
        self.old, self.new = old, new
        self._settings, self._display, self._run = settings, display, run
        self._workloads_beside = workloads_beside
        self._takes_same = same is None
        self._taken: dict[Cell, _Taken] = {cell: _Taken(same=list(own)) for cell, own in (same or {}).items()}
        self._settling = Settling()
        self._numbers = count()
        self._order = np.random.default_rng(settings.options.seed)
        self._checked: set[tuple[str, object, bool]] = set()
        self.apart: dict[tuple[str, object], str] = {}
        self.broken: dict[Cell, tuple[Outcome, str]] = {}
        self.notes: list[str] = []

    def evidence(self, cell: Cell) -> Evidence:
        """What was measured of a cell so far."""
        taken = self._taken.get(cell, _Taken())
        return Evidence(same=tuple(taken.same), changed=tuple(taken.changed))

    def round(self, cells: Sequence[Cell]) -> None:
        """One A/A session and one of old and new of each cell, in random order; what broke is left out.

        OptionError if an arm refuses before anything was measured.
        """
        groups: dict[tuple[str, object], list[Cell]] = {}
        for cell in cells:
            if cell not in self.broken:
                groups.setdefault((cell.strategy, cell.model), []).append(cell)
        for members in groups.values():
            kinds = [True, False] if self._takes_same else [False]
            for is_same in self._order.permutation(kinds).tolist():
                self._session([cell for cell in members if cell not in self.broken], is_same=is_same)

    def _session(self, cells: list[Cell], *, is_same: bool) -> None:
        """A twin session of all; once more without a cell that it broke at."""
        while cells:
            ends = self._pair(cells, is_same=is_same)
            if self._part(cells, ends):
                continue
            wrong = next((index for index, end in enumerate(ends) if end is not None and _problem(end)), None)
            if wrong is None:
                self._keep(cells, ends, is_same=is_same)
                return
            cells = self._fail(cells, ends, wrong, is_same=is_same)

    def _part(self, cells: list[Cell], ends: Ends) -> bool:
        """Whether both arms together were too much for the memory, so that they go on one after the other."""
        group, told = (cells[0].strategy, cells[0].model), lacked_room(ends)
        if told is None or group in self.apart:
            return False
        self.apart[group] = told
        for cell in self._taken:
            if (cell.strategy, cell.model) == group:
                self._taken[cell] = _Taken()
        self.notes.append(
            f"{cells[0].strategy_slug}/{cells[0].model.slug}: both arms at once do not fit ({told}); they take turns "
            "by whole sessions"
        )
        return True

    def _pair(self, cells: list[Cell], *, is_same: bool) -> Ends:
        number, sides = next(self._numbers), (self.old, self.old if is_same else self.new)
        first, second = (
            Launch(job=self._job(side, cells, number, is_new=side is self.new), recipe=side.recipe) for side in sides
        )
        self._display.session_began(second.job)
        run = run_one_by_one if (cells[0].strategy, cells[0].model) in self.apart else run_in_turns
        ends = run(first, second, self._display.progressed, seed=int(self._order.integers(2**32)))
        recordings = ends[1].recordings if ends[1] is not None else ()
        what = f"A/A of {self.old.label}" if is_same else f"in turns with {self.old.label}"
        is_done = all(end is not None and not _problem(end) for end in ends)
        self._display.session_ended(f"{what}: {'done' if is_done else 'failed'}", recordings)
        self._keep_on_disk(ends, (sides[0].label, sides[1].label))
        held = self._settling.after_session()
        self.notes += [held] if held and held not in self.notes else []
        return ends

    def _job(self, side: Side, cells: list[Cell], number: int, *, is_new: bool) -> SessionJob:
        own = tuple(side.cell(cell) for cell in cells)
        group = (cells[0].strategy, cells[0].model, is_new)
        is_first = group not in self._checked
        self._checked.add(group)
        return SessionJob(
            reference=side.arm.reference(self._settings.reference(own[0].strategy)),
            cells=own,
            session=number,
            measure=self._measure(side),
            workloads=self._workloads_beside(cells[0]),
            import_path=side.arm.import_path,
            engine_dir=self._settings.engine_dir,
            turns=True,
            is_checked=is_first,
            foreign=side.arm.foreign,
        )

    def _measure(self, side: Side) -> MeasureOptions:
        options = self._settings.options.measure
        return replace(
            options,
            block_size=min(BLOCK, options.block_size),
            monitor=False,
            injected_slowdown=side.slowdown,
            slow_device=options.slow_device and bool(side.slowdown),
        )

    def _keep(self, cells: list[Cell], ends: Ends, *, is_same: bool) -> None:
        old, new = ends
        if old is None or new is None:
            raise AssertionError("an arm was ended although nothing broke")
        for cell, ours, theirs in zip(cells, old.recordings, new.recordings, strict=True):
            taken = self._taken.setdefault(cell, _Taken())
            (taken.same if is_same else taken.changed).append(TwinSession(old=ours, new=theirs))

    def _fail(self, cells: list[Cell], ends: Ends, wrong: int, *, is_same: bool) -> list[Cell]:
        """Mark the cell that an arm broke at, or all if it was at none; what is left to measure."""
        end = ends[wrong]
        if end is None:
            raise AssertionError("an arm that was ended did not break")
        side = self.new if wrong and not is_same else self.old
        said = f"{side.label}: {_problem(end)}"
        is_left_out = end.unavailable and not self._settings.strategies_were_named
        if (end.refused or end.unavailable) and not (is_left_out or self._has_measured()):
            raise OptionError(said)
        self._keep_output(end)
        own = [side.cell(cell) for cell in cells]
        hit = [cells[own.index(end.culprit)]] if end.culprit is not None and not end.broken else cells
        outcome = Outcome.INVALID if side is self.new and not is_left_out else Outcome.INCOMPARABLE
        self.broken.update(dict.fromkeys(hit, (outcome, said)))
        return [cell for cell in cells if cell not in hit]

    def _has_measured(self) -> bool:
        return any(taken.same or taken.changed for taken in self._taken.values())

    def _keep_on_disk(self, ends: Ends, arms: tuple[str, str]) -> None:
        old, new = (end.recordings if end is not None else () for end in ends)
        try:
            self._run.add_pair(runs.Pair(arms=arms, old=old, new=new))
        except BaselineError as error:
            self.notes.append(f"{error}; this twin session is kept in memory only")

    def _keep_output(self, end: SessionEnd) -> None:
        if end.output.strip():
            with suppress(BaselineError):
                self.notes.append(f"an arm broke; its last output is in {self._run.keep_output(end.output)}")

    def recordings(self, cell: Cell) -> tuple[Recording, ...]:
        """Those of the new arm beside the old one."""
        return tuple(each.new for each in self.evidence(cell).changed)


def _problem(end: SessionEnd) -> str | None:
    """Why an arm's session is none, in one line."""
    if end.lost is not None:
        return f"its device was lost: {end.lost}"
    if end.recordings:
        return None
    return end.refused or end.unavailable or end.broken or end.died or "the worker ended without a word"
