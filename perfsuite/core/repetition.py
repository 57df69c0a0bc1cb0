"""Owns how many samples a session is worth: what a session costs beside a sample, and what spread either leaves.

The optimum is that of Kalibera & Jones, Rigorous Benchmarking in Reasonable Time (ISMM 2013), for two levels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from perfsuite.core.recording import Recording
from perfsuite.core.sample import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Nanoseconds: `session_ns` until a session takes its first sample, `sample_ns` of each; `samples` it took."""

    session_ns: float
    sample_ns: float
    samples: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """`samples` a session took of a metric's requests, and `best`, how many it is worth taking.

    `best` is `None` where sessions differ by no more than their samples explain: more samples help, sessions do not.
    """

    samples: int
    best: int | None


def cost_of(recordings: Sequence[Recording], phase: Phase) -> Cost | None:
    """What the sessions of a cell cost on average: startup and warm-ups, then the requests of a phase.

    The start of the process is not recorded and not in it. `None` without such requests.
    """
    taken = [recording.of_phase(phase) for recording in recordings]
    spans_ns = [sample.e2e_ns for own in taken for sample in own]
    if not spans_ns:
        return None
    return Cost(
        session_ns=fmean(r.startup_ns + sum(sample.e2e_ns for sample in r.warmups) for r in recordings),
        sample_ns=fmean(spans_ns),
        samples=len(spans_ns) / len(recordings),
    )


def repetition(cost: Cost, *, block_sd: float, process_sd: float) -> Repetition:
    """Of `block_sd`, the spread of a session that its samples alone explain, and `process_sd`, what is left of it.

    A sample counts with the variance n block_sd^2, so that n of them leave the block_sd that was found: neighbours
    that move together then count for less than their number.
    """
    within_sd = block_sd * math.sqrt(cost.samples)
    return Repetition(samples=round(cost.samples), best=best_samples(cost, within_sd=within_sd, between_sd=process_sd))


def best_samples(cost: Cost, *, within_sd: float, between_sd: float) -> int | None:
    """n* = ceil(sqrt(c_session / c_sample * s_within^2 / s_between^2)), 1 at least; `None` where s_between is 0.

    With n* samples a session the spread of the mean is the least that a given time can buy, however long that time is.
    """
    if between_sd <= 0:
        return None
    return max(1, math.ceil(math.sqrt(cost.session_ns / cost.sample_ns) * within_sd / between_sd))
