"""Owns output throughput and goodput: tokens, and requests that are good enough, a second while requests ran.

The span that is measured is the time in which full requests were under way; what was done between them (one-token
requests, canaries, other cells) is not in it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy import special

from perfsuite.core.errors import OptionError
from perfsuite.core.metrics import SERIES
from perfsuite.core.recording import Recording
from perfsuite.core.sample import Phase, Sample
from perfsuite.core.units import NS_PER_S, format_ms, parse_duration
from perfsuite.core.verdict import Interval

CONFIDENCE = 0.95
JUDGED = ("ttft", "tpot", "e2e")
"""The series that an objective can be set for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Output tokens per second, the geometric mean of the sessions; its interval is Student's over their logarithms.

    `interval` is `None` for one session: it says nothing of another one.
    """

    tokens_per_second: float
    interval: Interval | None
    sessions: int


def session_throughput(recording: Recording) -> float | None:
    """Output tokens of all full requests of a session over the time they were under way; `None` without one."""
    calls = recording.of_phase(Phase.DECODE)
    if not calls:
        return None
    tokens = sum(request.output_tokens for call in calls for request in _requests(recording, call))
    return tokens * NS_PER_S / _span_ns(calls)


def throughput_of(recordings: Iterable[Recording]) -> Throughput | None:
    """Of the sessions of a cell; `None` if none has a full request."""
    logs = [math.log(value) for recording in recordings if (value := session_throughput(recording))]
    if not logs:
        return None
    center, interval = fmean(logs), None
    if len(logs) > 1:
        reach = float(special.stdtrit(len(logs) - 1, (1 + CONFIDENCE) / 2)) * stdev(logs) / math.sqrt(len(logs))
        interval = Interval(low=math.exp(center - reach), high=math.exp(center + reach), confidence=CONFIDENCE)
    return Throughput(tokens_per_second=math.exp(center), interval=interval, sessions=len(logs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The most that a request may take to be good: `limit_ns` of TTFT, TPOT or E2E."""

    series: str
    limit_ns: int

    @property
    def text(self) -> str:
        """'TTFT at most 50 ms'."""
        return f"{SERIES[self.series].label} at most {format_ms(self.limit_ns)} ms"

    def is_met(self, request: Sample) -> bool:
        """Whether a request kept to it; a TPOT that is not defined, of one token, does."""
        return all(value <= self.limit_ns for value in SERIES[self.series].of_request(request))


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodput:
    """How many of the full `requests` met all objectives, and how many of those there were a second.

    `interval` is Wilson's of the share. Requests that were sent together count in it as one, since they share their
    fate. Failed requests are among `requests`; how long they took is not known, so that is in no span.
    """

    good: int
    requests: int
    interval: Interval
    per_second: float

    @property
    def share(self) -> float:
        return self.good / self.requests


def goodput_of(recordings: Sequence[Recording], objectives: Sequence[Objective]) -> Goodput | None:
    """As vLLM's benchmark defines it: a request is good if none of its times is above its objective.

    `None` without objectives, or without a full request that was answered.
    """
    calls = [(recording, call) for recording in recordings for call in recording.of_phase(Phase.DECODE)]
    if not objectives or not calls:
        return None
    answered = [request for recording, call in calls for request in _requests(recording, call)]
    good = sum(all(objective.is_met(request) for objective in objectives) for request in answered)
    together = recordings[0].cell.workload.batch_size
    requests = len(answered) + together * sum(_failed(recording) for recording in recordings)
    return Goodput(
        good=good,
        requests=requests,
        interval=wilson(good / requests, requests / together),
        per_second=good * NS_PER_S / _span_ns([call for _, call in calls]),
    )


def wilson(share: float, n: float, confidence: float = CONFIDENCE) -> Interval:
    """The interval of a share of n (Wilson 1927); it stays between 0 and 1 and holds for small n as well."""
    z = float(special.ndtri((1 + confidence) / 2))
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(low=max(0.0, center - reach), high=min(1.0, center + reach), confidence=confidence)


def parse_objectives(text: str, *, where: str) -> tuple[Objective, ...]:
    """Objectives from 'ttft:50ms,tpot:10ms'; none from an empty text."""
    found: dict[str, Objective] = {}
    for part in text.split(",") if text else ():
        name, colon, limit = (piece.strip() for piece in part.partition(":"))
        if not colon or name not in JUDGED or name in found:
            raise OptionError(
                f"{where}: {part.strip()!r} is no objective, or one given twice; write 'ttft:50ms,tpot:10ms,e2e:1s', "
                "any of the three"
            )
        found[name] = Objective(series=name, limit_ns=parse_duration(limit, where=f"{where} ({name})"))
    return tuple(found.values())


def _requests(recording: Recording, call: Sample) -> tuple[Sample, ...]:
    """The requests of a call; rows that share one time are as many requests alike."""
    return call.requests if call.rows_ns else (call,) * recording.cell.workload.batch_size


def _span_ns(calls: Iterable[Sample]) -> int:
    return sum(call.e2e_ns for call in calls)


def _failed(recording: Recording) -> int:
    """Calls of full requests that broke, other than by an error in a warm-up."""
    return sum(failure.phase is Phase.DECODE and failure.stage != "warm-up" for failure in recording.failures)
