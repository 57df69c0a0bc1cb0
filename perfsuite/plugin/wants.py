"""Owns which cells of a run need one more session, and whether a run takes as long as it takes."""

from dataclasses import dataclass

from perfsuite.core.matrix import Cell
from perfsuite.core.options import Options
from perfsuite.core.ratio import COMPARED_SESSIONS
from perfsuite.measure.schedule import undecided
from perfsuite.plugin.bench import Bench
from perfsuite.plugin.sessions import Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Wants:
    """What is wanted of the cells of a run: a baseline, verdicts, or for those in `compared` a ratio."""

    options: Options
    bench: Bench
    compared: frozenset[Cell] = frozenset()

    def cells(self, sessions: Sessions) -> tuple[Cell, ...]:
        """Those that need one more session: all until a baseline is full, else the undecided ones."""
        if self.options.save_baseline:
            wanted = self.options.gate.baseline_sessions
            return tuple(cell for cell in sessions.cells if sessions.count(cell) < wanted and sessions.is_open(cell))
        done = {cell.id: sessions.count(cell) for cell in sessions.cells}
        cells = undecided(self.bench.judgements(), done, limit=self.options.gate.sessions)
        enough = min(COMPARED_SESSIONS, self.options.gate.sessions)
        compared = [cell for cell in sessions.cells if cell in self.compared or sessions.repeats_turns(cell)]
        few = [cell for cell in compared if sessions.count(cell) < enough]
        return tuple(cell for cell in dict.fromkeys((*cells, *few)) if sessions.is_open(cell))

    def measure_more(self, sessions: Sessions, cells: tuple[Cell, ...]) -> None:
        """One more session of each; of a baseline all that it lacks, where several can be made at once."""
        self.bench.forget()
        full = self.options.gate.baseline_sessions if self.options.save_baseline and sessions.at_once > 1 else 0
        sessions.measure(cells, lambda cell: max(1, full - sessions.count(cell)))

    def is_endless(self, sessions: Sessions) -> bool:
        """Saving a baseline takes the sessions it takes.

        So does a comparison of strategies, unless there are baselines to judge by as well.
        """
        compares = bool(self.compared) or any(map(sessions.took_turns, sessions.cells))
        return self.options.save_baseline or (compares and not self.bench.shelf.usable)
