"""Owns what a self-test says: what the gate can see, what real sessions showed, and one sentence per cell."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from perfsuite.core.calibration import Calibrated
from perfsuite.core.injection import INJECTIONS
from perfsuite.core.metrics import SERIES, Metric
from perfsuite.core.selftest import Gated, SelfTest, Tally, Trial
from perfsuite.core.units import format_percent, format_seconds
from perfsuite.core.verdict import Outcome
from perfsuite.report.headings import counted, ranged
from perfsuite.report.layout import Line
from perfsuite.report.replays import replays
from perfsuite.report.verdicts import verdict_line

HEADING = "perfsuite: self-test"
SURE = 0.95
"""A share of the replays from which on a slowdown counts as caught."""
_UNIFORM = tuple(each.name for each in INJECTIONS if each.fraction)


def selftest(found: SelfTest) -> tuple[Line, ...]:
    """The replays as a table, the false alarms, the smallest changes, the trials, a sentence per cell, the outcome."""
    return (
        Line(_title(found), "bold"),
        *replays(found),
        *_smallest_lines(found),
        *(line for trial in found.trials for line in _trial_lines(trial)),
        *(_cell_line(found, each) for each in found.gated),
        _outcome_line(found),
    )


def _title(found: SelfTest) -> str:
    sessions = ranged([len(each.baseline.recordings) for each in found.gated], "session")
    strategies = ", ".join(dict.fromkeys(each.cell.strategy_slug for each in found.gated))
    models = ", ".join(dict.fromkeys(each.cell.model.name for each in found.gated))
    return f"self-test of {strategies} on {models}: baselines of {counted(len(found.gated), 'cell')}, {sessions}"


def _smallest_lines(found: SelfTest) -> Iterator[Line]:
    by_metric: dict[Metric, list[Calibrated]] = {}
    for each in found.calibrated:
        by_metric.setdefault(each.metric, []).append(each)
    for metric, own in sorted(by_metric.items(), key=lambda item: item[0].rank):
        yield _smallest_line(metric, own)


def _smallest_line(metric: Metric, own: Sequence[Calibrated]) -> Line:
    """'TTFT P50: can gate 1.2 % in a usual cell, 2.3 % in the worst; 9 of 9 cells can hold the tolerance'."""
    sizes = [each.smallest for each in own if each.smallest is not None]
    able = sum(each.can_gate for each in own)
    style = "plain" if able == len(own) else "yellow"
    tolerance = f"{able} of {counted(len(own), 'cell')} can hold the tolerance"
    if not sizes:
        return Line(f"{metric.label}: {tolerance}: {_short(own[0].reason)}", style)
    usual, worst = (f"{100 * size:.1f} %" for size in (median(sizes), max(sizes)))
    return Line(f"{metric.label}: can gate {usual} in a usual cell, {worst} in the worst; {tolerance}", style)


def _trial_lines(trial: Trial) -> Iterator[Line]:
    what = f"every event {format_percent(trial.slowdown)} later" if trial.slowdown else "same code"
    counts = Counter(verdict.outcome for _, verdict in trial.verdicts())
    told = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome])
    wrong = trial.wrong()
    style = "red" if wrong else "yellow" if trial.uncompared() else "plain"
    yield Line(f"real sessions, {what}: {told or 'nothing was judged'}{_spent(trial)}", style)
    if trial.slowdown:
        yield from _unslowed_line(trial)
    for cell, verdict in wrong:
        fault = "a silent pass" if trial.slowdown else "red, though nothing was changed since the baseline"
        yield Line(f"  {fault}: {verdict_line(cell, verdict)}", "red")
    for cell, verdict in trial.uncompared():
        yield Line(f"  {verdict_line(cell, verdict)}", "yellow")


def _spent(trial: Trial) -> str:
    if not trial.sessions_ns:
        return ""
    longest = max(trial.spent_ns.values(), default=0)
    return f"; {counted(len(trial.sessions_ns), 'session')}, the last verdict after {format_seconds(longest)}"


def _unslowed_line(trial: Trial) -> Iterator[Line]:
    passed = {v.metric for _, v in trial.verdicts() if v.outcome is Outcome.PASSED and not trial.must_show(v)}
    if passed:
        yield Line(f"  not slowed, or below their tolerance: {', '.join(sorted(passed))}")


def _cell_line(found: SelfTest, gated: Gated) -> Line:
    """'eager/tiny/p100-o32: catches +5 % TTFT P50 in 99 of 100 replays; TTFT P99 below +22 % cannot be seen …'."""
    tallies = found.replays.tallies.get(gated.cell, ())
    seen: dict[str, list[Tally]] = {}
    unseen: list[str] = []
    for metric in sorted(gated.metrics(), key=lambda metric: metric.rank):
        caught = _smallest_caught([tally for tally in tallies if tally.metric == metric])
        if caught is not None:
            seen.setdefault(caught.injection, []).append(caught)
        else:
            unseen.append(_unseen(found.calibrated, gated, metric))
    catches = [f"catches {_caught_text(name, seen[name])}" for name in _UNIFORM if name in seen]
    missed = _missed(tallies)
    told = "; ".join(filter(None, (*catches, *unseen, missed)))
    return Line(f"{gated.cell.id}: {told}", "red" if missed else "plain")


def _caught_text(name: str, caught: Sequence[Tally]) -> str:
    """'+5 % TTFT P50, TPOT P50 in 99 of 100 replays', of several metrics at least so many."""
    fewest = min(caught, key=lambda tally: tally.caught)
    labels = ", ".join(tally.metric.label for tally in caught)
    return f"{name} {labels} in {fewest.caught} of {counted(fewest.count, 'replay')}"


def _smallest_caught(tallies: Sequence[Tally]) -> Tally | None:
    """The smallest slowdown of all samples that nearly every replay found."""
    found = [tally for tally in tallies if tally.injection in _UNIFORM and tally.caught >= SURE * tally.count]
    return min(found, key=lambda tally: _UNIFORM.index(tally.injection), default=None)


def _unseen(calibrated: Sequence[Calibrated], gated: Gated, metric: Metric) -> str:
    own = next((each for each in calibrated if each.cell == gated.cell and each.metric == metric), None)
    if own is None or own.smallest is None:
        return f"{metric.label} cannot be gated" + (f" ({_short(own.reason)})" if own else "")
    samples = min(len(SERIES[metric.series].values(recording)) for recording in gated.baseline.recordings)
    return f"{metric.label} below +{100 * own.smallest:.1f} % cannot be seen with {counted(samples, 'sample')}"


def _short(reason: str) -> str:
    """A reason without its remedy: the table of a calibration has both."""
    return reason.partition(";")[0]


def _missed(tallies: Sequence[Tally]) -> str:
    """What passed in more replays than the one in a hundred that the gate allows itself."""
    found = [tally for tally in tallies if tally.missed > 0.01 * tally.count]
    told = (f"{each.injection} {each.metric.label} in {each.missed} of {each.count}" for each in found)
    return f"misses {', '.join(told)}" if found else ""


def _outcome_line(found: SelfTest) -> Line:
    wrong, uncompared = found.wrong(), found.uncompared()
    if wrong:
        return Line(f"{HEADING}: the gate was wrong {counted(len(wrong), 'time')} in real sessions", "red")
    if uncompared:
        return Line(f"{HEADING}: {counted(len(uncompared), 'gate')} could not be tried", "yellow")
    if not found.trials:
        return Line(f"{HEADING}: replays only, no real session was tried", "yellow")
    return _held_line(found.trials)


def _held_line(trials: Sequence[Trial]) -> Line:
    """Whether the real slowdown was caught wherever it had to be."""
    alarms = "" if all(trial.slowdown for trial in trials) else "no false alarm, "
    due = [verdict for trial in trials for _, verdict in trial.verdicts() if trial.must_show(verdict)]
    caught = sum(verdict.outcome is Outcome.REGRESSED for verdict in due)
    told = f"{alarms}{caught} of {counted(len(due), 'slowed gate')} red, none passed silently"
    return Line(f"{HEADING}: {told}", "green" if due and caught == len(due) else "yellow")
