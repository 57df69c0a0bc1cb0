"""Owns a real trial of the gate: fresh sessions of stored cells, as they are or slowed, judged as in a run.

How a cell is measured is read back from its baseline, so that both sides of the comparison agree.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from perfsuite.core.baseline import Baseline
from perfsuite.core.errors import OptionError
from perfsuite.core.judgement import judge_cell, suite_noise
from perfsuite.core.matrix import Cell
from perfsuite.core.options import GateOptions, MeasureOptions
from perfsuite.core.recording import Environment, Recording
from perfsuite.core.sample import Failure, Phase, Sample
from perfsuite.core.selftest import Gated, Trial
from perfsuite.core.verdict import Judgement
from perfsuite.core.workload import Workload
from perfsuite.measure.aftermath import after_loss
from perfsuite.measure.clock import HostClock, utc_now
from perfsuite.measure.launcher import SessionEnd, run_session
from perfsuite.measure.schedule import undecided
from perfsuite.measure.session import Progress, SessionJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What a trial takes from its run: strategies' references by name, import path, progress, how verdicts are reached.

    `workloads` are all that a cell's strategy is opened for, the cell's own and its neighbours'.

    `engine_dir` is the folder of engines that the user named.

    `began` is told every session as it begins, `progressed` where it is, `ended` how it ended.
    """

    reference: Callable[[str], str]
    workloads: Callable[[Cell], tuple[Workload, ...]]
    import_path: tuple[str, ...]
    options: GateOptions
    gates: int
    began: Callable[[SessionJob], None]
    progressed: Callable[[Progress], None]
    ended: Callable[[SessionEnd], None]
    engine_dir: str | None = None


def measure_options(baseline: Baseline, slowdown: float = 0.0) -> MeasureOptions:
    """How the sessions of a baseline were measured, by the keys that must agree and by what they hold."""
    first, agree = baseline.recordings[0], baseline.environment.must_agree
    defaults = MeasureOptions()
    return MeasureOptions(
        samples=max(1, *(_count(r.samples, Phase.PREFILL) for r in baseline.recordings)),
        decode_samples=max(1, *(_count(r.samples, Phase.DECODE) for r in baseline.recordings)),
        block_size=_whole(agree.get("block"), defaults.block_size),
        warmup=_whole(agree.get("warm-up"), _count(first.warmups, Phase.PREFILL)),
        injected_slowdown=slowdown,
    )


def _count(samples: Iterable[Sample], phase: Phase) -> int:
    return sum(sample.phase is phase for sample in samples)


def _whole(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() else default


def try_gate(gated: Sequence[Gated], ways: Ways, *, slowdown: float = 0.0) -> Trial:
    """Measure the cells in fresh processes and judge them; only undecided ones go on, up to the sessions of the gate.

    `slowdown` 0.1 makes every event 10 % later. OptionError if a strategy is refused or cannot run here; a session that
    breaks makes the cells it hit INVALID.
    """
    trial = _Attempt(gated, ways, slowdown)
    waiting = [each.cell for each in gated]
    while waiting:
        trial.measure(waiting)
        done = {cell.id: len(own) for cell, own in trial.recordings.items()}
        waiting = list(undecided(trial.judgements(), done, limit=ways.options.sessions))
    return Trial(
        slowdown=slowdown,
        judgements=trial.judgements(),
        sessions_ns=tuple(trial.sessions_ns),
        spent_ns=trial.spent_ns,
    )


class _Attempt:
    """What a trial has measured so far."""

    def __init__(self, gated: Sequence[Gated], ways: Ways, slowdown: float) -> None:
        self._gated = {each.cell: each for each in gated}
        self._ways = ways
        self._clock = HostClock()
        self._measure = {each.cell: measure_options(each.baseline, slowdown) for each in gated}
        metrics = dict.fromkeys(metric for each in gated for metric in each.tolerances)
        self._noise = suite_noise([each.baseline for each in gated], metrics)
        self.recordings: dict[Cell, tuple[Recording, ...]] = {each.cell: () for each in gated}
        self.sessions_ns: list[int] = []
        self.spent_ns: dict[Cell, int] = {each.cell: 0 for each in gated}

    def measure(self, cells: Iterable[Cell]) -> None:
        """One more session of each cell; those that can share a process do."""
        arms: dict[tuple[object, ...], list[Cell]] = {}
        for cell in cells:
            arms.setdefault((cell.strategy, cell.model, self._measure[cell]), []).append(cell)
        for members in arms.values():
            self._measure_arm(members)

    def judgements(self) -> tuple[Judgement, ...]:
        return tuple(
            judge_cell(
                cell,
                self._gated[cell].baseline,
                own,
                tolerances=self._gated[cell].tolerances,
                gates=self._ways.gates,
                options=self._ways.options,
                noise=self._noise,
            )
            for cell, own in self.recordings.items()
        )

    def _measure_arm(self, cells: list[Cell]) -> None:
        """A session of all; without the cell that it died on once more, so that the others are measured."""
        losses, aside = 0, dict[Cell, Recording]()
        while cells:
            end = self._one_session(cells)
            if end.refused or end.unavailable:
                raise OptionError(f"{cells[0].id}: {end.refused or end.unavailable}")
            if end.lost and end.recordings:
                losses += 1
                after = after_loss(end, aside, losses)
                self._keep(after.kept)
                aside = dict(after.again)
                cells = list(aside)
                continue
            if end.culprit is None:
                self._keep(end.recordings or _broken(cells, end))
                return
            self._keep(_broken([end.culprit], end))
            cells = [cell for cell in cells if cell != end.culprit]

    def _one_session(self, cells: list[Cell]) -> SessionEnd:
        job = SessionJob(
            reference=self._ways.reference(cells[0].strategy),
            cells=tuple(cells),
            session=max(len(self.recordings[cell]) for cell in cells),
            measure=self._measure[cells[0]],
            workloads=self._ways.workloads(cells[0]),
            import_path=self._ways.import_path,
            engine_dir=self._ways.engine_dir,
        )
        self._ways.began(job)
        before_ns = self._clock.now_ns()
        end = run_session(job, self._ways.progressed)
        taken_ns = self._clock.now_ns() - before_ns
        self._ways.ended(end)
        self.sessions_ns.append(taken_ns)
        for cell in cells:
            self.spent_ns[cell] += taken_ns
        return end

    def _keep(self, recordings: Iterable[Recording]) -> None:
        for recording in recordings:
            session = len(self.recordings[recording.cell])
            self.recordings[recording.cell] += (replace(recording, session=session),)


def _broken(cells: Iterable[Cell], end: SessionEnd) -> tuple[Recording, ...]:
    message = end.died or end.broken or "the worker ended without a word"
    unknown = Environment(device="unknown", must_agree={}, noted={})
    failure = Failure(stage="worker" if end.died else "open", message=message)
    return tuple(
        Recording(
            cell=cell,
            environment=end.environment or unknown,
            session=0,
            started_at=utc_now(),
            failures=(failure,),
        )
        for cell in cells
    )
