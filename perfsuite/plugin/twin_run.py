"""Owns the course of a comparison: its arms are made ready, twins made of them, commits tried, and all goes again."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from perfsuite import runs
from perfsuite.arms.arm import Arm, code_arm, prepared, working_tree
from perfsuite.arms.bisection import Opinion, bisect
from perfsuite.arms.git import commit_named, is_dirty, subject_of, top_of
from perfsuite.core.errors import OptionError
from perfsuite.core.matrix import Cell
from perfsuite.core.verdict import Outcome
from perfsuite.core.workload import Workload
from perfsuite.plugin.progress import ProgressDisplay
from perfsuite.plugin.selection import Ask
from perfsuite.plugin.settings import Settings
from perfsuite.plugin.twin import Twin
from perfsuite.plugin.twin_sessions import Side, TwinSessions
from perfsuite.plugin.twin_settings import ArmOptions, TwinSettings

WorkloadsOf = Callable[[Cell], tuple[Workload, ...]]
GOOD = (Outcome.PASSED, Outcome.IMPROVED)


def headline(settings: Settings) -> str:
    """What a run measures, in one line."""
    options, twin = settings.options, settings.twin
    what = f"perfsuite: {', '.join(options.strategies)} on {', '.join(model.name for model in options.models)}"
    if twin.replaces_baseline:
        old = twin.arms[0].text if twin.arms else twin.reference.label if twin.reference else ""
        return f"{what}, in turns with {old}"
    return (
        f"{what}, {'saving' if options.save_baseline else 'judging by the'} baselines in {settings.baseline_dir.name}/"
    )


def unjudged(asks: Iterable[Ask], gated: Iterable[Ask]) -> tuple[Ask, ...]:
    """What is measured but not judged, once for each cell."""
    known = {ask.cell for ask in gated}
    return tuple({ask.cell: ask for ask in asks if ask.cell not in known}.values())


@contextmanager
def comparison(
    settings: Settings,
    display: ProgressDisplay,
    argv: tuple[str, ...],
    workloads_beside: WorkloadsOf,
    note: Callable[[str], None],
) -> Iterator["Comparison"]:
    """The arms of a run, ready to be measured; OptionError, in one line, if one cannot be made."""
    run = _run(settings, argv)
    with _both_sides(settings, display) as (old, new):
        yield Comparison(
            settings=settings,
            display=display,
            run=run,
            workloads_beside=workloads_beside,
            note=note,
            old=old,
            new=new,
        )
    run.finish()


@contextmanager
def _both_sides(settings: Settings, display: ProgressDisplay) -> Iterator[tuple[Side, Side]]:
    twin, arm = settings.twin, working_tree(settings.root)
    if twin.reference is None:
        yield _two_ways(twin, arm)
        return
    models = [model.name for model in settings.options.models]
    with prepared(twin.reference, settings.root, where=twin.where, say=display.said, models=models) as old:
        yield Side(arm=old), Side(arm=arm, slowdown=settings.options.measure.injected_slowdown)


def _run(settings: Settings, argv: tuple[str, ...]) -> runs.Run:
    digest = hashlib.sha256("\0".join(("twin", *argv)).encode()).hexdigest()
    return runs.start(settings.root, digest, argv)


def _two_ways(twin: TwinSettings, arm: Arm) -> tuple[Side, Side]:
    """Two ways to run the working tree."""
    if twin.arms is None:
        raise AssertionError("a comparison needs arms")
    first, second = twin.arms

    def of(cell: Cell, options: ArmOptions) -> Cell:
        base = twin.bases.get(cell.model, cell.model)
        return replace(cell, strategy=options.strategy, model=options.model(base))

    return (
        Side(arm=replace(arm, label=first.text), cell=lambda cell: of(cell, first), variables=first.variables),
        Side(arm=replace(arm, label=second.text), cell=lambda cell: of(cell, second), variables=second.variables),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Makes twins of two arms."""

    settings: Settings
    display: ProgressDisplay
    run: runs.Run
    workloads_beside: WorkloadsOf
    note: Callable[[str], None]
    old: Side
    new: Side

    def __call__(self, asks: Iterable[Ask], gates_beside: int) -> Twin:
        """A twin of both arms on these cells."""
        return self._twin(self.new, asks, gates_beside=gates_beside)

    def _twin(self, new: Side, asks: Iterable[Ask], *, gates_beside: int = 0, before: Twin | None = None) -> Twin:
        sessions = TwinSessions(
            self.old,
            new,
            settings=self.settings,
            display=self.display,
            run=self.run,
            workloads_beside=self.workloads_beside,
            same=before.same() if before else None,
        )
        is_gate = self.settings.twin.arms is None
        gate = self.settings.options.gate
        return Twin(sessions, asks, gate, gates_beside=gates_beside, is_gate=is_gate, note=self.note)

    def bisect(self, twin: Twin) -> str:
        """The sentence that names the first bad commit, or says why none can be named."""
        red = _red(twin)
        if not red:
            return "--perf-bisect: nothing is red, so there is no bad commit to look for"
        reference, top = self.settings.twin.reference, top_of(self.settings.root)
        if reference is None or top is None:
            raise AssertionError("a bisection needs a revision")
        try:
            head = commit_named(top, "HEAD") or "HEAD"
            judge = partial(self._opinion_of, twin, red)
            found = bisect(top, reference.target, head, judge, known_bad=not is_dirty(top))
        except OptionError as error:
            return f"--perf-bisect: {error}"
        return found.text

    def _opinion_of(self, twin: Twin, red: tuple[Ask, ...], folder: Path, commit: str) -> Opinion:
        """What the red metrics are at one commit; one that cannot be measured has no say."""
        label, home = subject_of(folder, commit), self.old.arm.recipe.home
        top = top_of(self.settings.root) or self.settings.root
        self.display.said(f"--perf-bisect: trying {label}")
        try:
            arm = code_arm(commit[:7], top, folder, home, where="--perf-bisect", say=self.display.said)
            tried = self._twin(Side(arm=arm), red, before=twin)
            tried.measure()
        except OptionError as error:
            self.display.said(f"--perf-bisect: {label}: skipped: {error}")
            return Opinion.NONE
        outcomes = [verdict.outcome for ask in tried.asks for verdict in tried.judgement(ask).verdicts]
        opinion = _opinion(outcomes)
        self.display.said(f"--perf-bisect: {label}: {opinion.value}")
        return opinion


def _opinion(outcomes: list[Outcome]) -> Opinion:
    if Outcome.REGRESSED in outcomes:
        return Opinion.BAD
    return Opinion.GOOD if outcomes and all(outcome in GOOD for outcome in outcomes) else Opinion.NONE


def _red(twin: Twin) -> tuple[Ask, ...]:
    """What regressed, without the metrics that did not."""
    found = []
    for ask in twin.asks:
        bad = {v.metric for v in twin.judgement(ask).verdicts if v.outcome is Outcome.REGRESSED}
        if bad:
            kept = tuple((metric, tolerance) for metric, tolerance in ask.tolerances if metric.key in bad)
            found.append(replace(ask, tolerances=kept, resources=()))
    return tuple(found)
