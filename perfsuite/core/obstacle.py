"""Owns the question whether a candidate may be compared with a baseline at all, and what to do where it may not."""

from collections.abc import Iterable
from dataclasses import dataclass

from perfsuite.core.baseline import Baseline
from perfsuite.core.cycles import usual_clock
from perfsuite.core.options import GateOptions
from perfsuite.core.recording import Recording
from perfsuite.core.rules import THRESHOLDS, Cause
from perfsuite.core.units import format_change, format_percent
from perfsuite.core.validity import problems, unsavable
from perfsuite.core.verdict import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """What keeps a whole cell from being compared."""

    outcome: Outcome
    reason: str
    remedy: str


def obstacle_to(
    baseline: Baseline | None, recordings: tuple[Recording, ...], options: GateOptions, save_command: str
) -> Obstacle | None:
    """What keeps a candidate's sessions from being compared with a baseline; `None` if nothing does."""
    if not recordings:
        return Obstacle(outcome=Outcome.INVALID, reason="no session was measured", remedy="measure again")
    for recording in recordings:
        for problem in problems(recording):
            reason = f"session {recording.session + 1}: {problem}"
            return Obstacle(outcome=Outcome.INVALID, reason=reason, remedy="mend the cause and measure again")
    if baseline is None:
        reason = f"no baseline for {recordings[0].environment.device!r}"
        return Obstacle(outcome=Outcome.NO_BASELINE, reason=reason, remedy=f"record one with: {save_command}")
    for recording in baseline.recordings:
        for problem in unsavable(recording):
            reason = f"baseline session {recording.session + 1}: {problem}"
            return Obstacle(outcome=Outcome.INVALID, reason=reason, remedy=f"record it again with: {save_command}")
    return _incomparable(baseline, recordings, options.ignored_environment, save_command) or _other_clock(
        baseline, recordings, save_command
    )


def _incomparable(
    baseline: Baseline, recordings: tuple[Recording, ...], ignored: frozenset[str], save_command: str
) -> Obstacle | None:
    """The differences of all sessions, each once; those of the environment can be allowed by their key."""
    differing = _once(phrase for r in recordings for phrase in baseline.mismatches(r, ignore=ignored))
    if not differing:
        return None
    keys = _once(
        phrase.partition(":")[0]
        for r in recordings
        for phrase in r.environment.differences(baseline.environment, ignore=ignored)
    )
    remedy = f"record a new baseline with: {save_command}"
    if len(keys) == len(differing):
        remedy += f"; or compare all the same: --perf-allow-mismatch {','.join(keys)}"
    return Obstacle(outcome=Outcome.INCOMPARABLE, reason="; ".join(differing), remedy=remedy)


def _other_clock(baseline: Baseline, recordings: tuple[Recording, ...], save_command: str) -> Obstacle | None:
    """SM clocks that nothing usual lowers and that are not the baseline's: another machine, as far as times go."""
    there, here = usual_clock(baseline.recordings), usual_clock(recordings)
    allowed = THRESHOLDS[Cause.CLOCK].limit
    if there is None or here is None or abs(here / there - 1) <= allowed:
        return None
    reason = (
        f"the SM clock is {here:g} MHz, the baseline's was {there:g} MHz ({format_change(here / there - 1)}, "
        f"{format_percent(allowed)} are allowed)"
    )
    remedy = f"see nvidia-smi -q -d CLOCK,PERFORMANCE and measure again, or record a new baseline with: {save_command}"
    return Obstacle(outcome=Outcome.INVALID, reason=reason, remedy=remedy)


def _once(phrases: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(phrases))
