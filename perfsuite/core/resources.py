"""Owns memory, energy and throughput as gated quantities: one value a session, with tolerances and a rule of their own.

Memory is nearly deterministic, energy and throughput have a value a session only, so none is a matter of distributions
(docs/gate.md 4): a change counts if every session shows it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType

from perfsuite.core.energy import energy_per_token
from perfsuite.core.metrics import Direction
from perfsuite.core.recording import Recording
from perfsuite.core.throughput import session_throughput
from perfsuite.core.units import format_bytes, format_change, format_percent
from perfsuite.core.verdict import Outcome, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A quantity of which a session has one value; `sessions` must agree before it is called worse.

    It is gated where a tolerance is given or has a default.
    """

    label: str
    of_recording: Callable[[Recording], float | None]
    text: Callable[[float], str]
    sessions: int
    direction: Direction = Direction.LOWER_IS_BETTER

    def values(self, recordings: Iterable[Recording]) -> list[float]:
        """One of each session that knows it."""
        return [value for recording in recordings if (value := self.of_recording(recording)) is not None]


def peak_memory(recording: Recording) -> float | None:
    """Bytes that the allocator held at most during the cell; of an engine elsewhere, those that its processes held."""
    memory = recording.memory
    if memory.cell_peak is not None:
        return memory.cell_peak
    return memory.device_used if memory.peak_reserved is None else None


def _bytes(value: float) -> str:
    return format_bytes(round(value))


def _joules(value: float) -> str:
    return f"{value:.3g} J"


def _rate(value: float) -> str:
    return f"{value:.4g} tokens/s"


RESOURCES: Mapping[str, Resource] = MappingProxyType(
    {
        "memory": Resource(label="peak memory", of_recording=peak_memory, text=_bytes, sessions=1),
        "energy": Resource(label="energy per token", of_recording=energy_per_token, text=_joules, sessions=3),
        "throughput": Resource(
            label="output throughput",
            of_recording=session_throughput,
            text=_rate,
            sessions=3,
            direction=Direction.HIGHER_IS_BETTER,
        ),
    }
)


def judge_resources(
    stored: Sequence[Recording], measured: Sequence[Recording], tolerances: Mapping[str, float]
) -> tuple[Verdict, ...]:
    """A verdict on each resource with a tolerance above 0 that every session of the baseline knows."""
    found = []
    for name, tolerance in tolerances.items():
        resource = RESOURCES[name]
        there, here = resource.values(stored), resource.values(measured)
        if tolerance > 0 and there and len(there) == len(stored):
            found.append(_verdict(name, there, here, tolerance))
    return tuple(found)


def _verdict(name: str, there: list[float], here: list[float], tolerance: float) -> Verdict:
    resource, center = RESOURCES[name], median(there)
    change = median(here) / center - 1 if here else None
    outcome, reason, remedy = _decision(resource, there, here, tolerance)
    return Verdict(
        metric=name,
        outcome=outcome,
        tolerance=tolerance,
        baseline=center,
        candidate=median(here) if here else None,
        change=change,
        baseline_sessions=len(there),
        candidate_sessions=len(here),
        samples=1,
        reason=reason,
        remedy=remedy,
        sessions_help=outcome is Outcome.INCONCLUSIVE and 0 < len(here) < resource.sessions,
    )


def _worsening(resource: Resource, value: float, usual: float) -> float:
    """How much worse than usual, as a fraction: of a rate, how much longer the same work takes."""
    return (value / usual if resource.direction is Direction.LOWER_IS_BETTER else usual / value) - 1


def _decision(resource: Resource, there: list[float], here: list[float], tolerance: float) -> tuple[Outcome, str, str]:
    """The outcome, why, and what would decide."""
    if not here:
        return (
            Outcome.INCONCLUSIVE,
            f"{resource.label}: not told here, though the baseline knows it",
            "a monitor that works",
        )
    changes = [_worsening(resource, value, median(there)) for value in here]
    wander = max(there) / min(there) - 1
    if wander > tolerance:
        reason = f"the baseline's own sessions differ by {100 * wander:.1f} %, {format_percent(tolerance)} is gated"
        return Outcome.INCONCLUSIVE, reason, f"a tolerance above {100 * wander:.1f} %"
    worse = sum(change > tolerance for change in changes)
    if not worse:
        return (Outcome.IMPROVED if max(changes) < -tolerance else Outcome.PASSED), "", ""
    if worse < len(changes):
        told = ", ".join(format_change(value / median(there) - 1) for value in here)
        return Outcome.INCONCLUSIVE, f"the sessions do not agree: {told}", "a machine that nobody else uses"
    if worse < resource.sessions:
        return Outcome.INCONCLUSIVE, f"{worse} of {resource.sessions} sessions that must agree", "more sessions"
    return Outcome.REGRESSED, f"{worse} of {len(changes)} candidate sessions are worse by more than the tolerance", ""
