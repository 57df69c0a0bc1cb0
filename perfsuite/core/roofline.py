"""Owns the roofline: the least time a pass can take, by what it has to read and compute and what the device can do.

docs/roofline.md has the formula, and why a limit has a ceiling above what was measured.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from perfsuite.core.codec import ADDED_LATER
from perfsuite.core.units import NS_PER_S, format_si
from perfsuite.core.work import ModelWork
from perfsuite.core.workload import Workload


class Limit(Enum):
    """What bounds a pass: how fast a device reads memory (bytes/s), or multiplies matrices (FLOP/s).

    Beside them, where a model is split over several, how fast each of these sends to the others (bytes/s).
    """

    READING = "read bandwidth"
    COMPUTING = "matrix rate"
    LINK = "link rate"

    @property
    def unit(self) -> str:
        return "FLOP/s" if self is Limit.COMPUTING else "B/s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How fast a device is, per second: the best that was `measured`, and the `ceiling` that no honest pass exceeds."""

    measured: float
    ceiling: float

    def __post_init__(self) -> None:
        if not 0 < self.measured <= self.ceiling < math.inf:
            raise ValueError(f"a rate of {self.measured:g} with the ceiling {self.ceiling:g} is not allowed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one device was found to be able to do in one session: `reading` in bytes/s, `computing` in FLOP/s.

    `link` is what each of several devices sends to the others in bytes/s; `None` where there is one, or
    that is not known.
    """

    reading: Rate
    computing: Rate
    link: Rate | None = field(default=None, metadata={ADDED_LATER: True})

    def rate(self, limit: Limit) -> Rate | None:
        return {Limit.READING: self.reading, Limit.COMPUTING: self.computing, Limit.LINK: self.link}[limit]

    def words(self, limit: Limit) -> str:
        """'read bandwidth 3.06 TB/s'; empty where it is not known."""
        rate = self.rate(limit)
        return f"{limit.value} {format_si(rate.measured, limit.unit)}" if rate else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The least time of a pass in nanoseconds: by the measured limits (`ns`), and by their ceilings (`least_ns`).

    `limit` is the one that bounds it. Between the two a time is surprising, below the second it is impossible.
    """

    ns: float
    least_ns: float
    limit: Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """What a device can do and what a model asks of it, together enough for the floor of any pass."""

    limits: Limits
    work: ModelWork

    def prefill(self, workload: Workload) -> Floor:
        """The floor of the prompt pass."""
        return self._pass(workload.batch_size, past=0, new=workload.prompt_tokens)

    def step(self, workload: Workload, index: int) -> Floor:
        """The floor of one step: 0 is the prompt pass, 1 the first decode step, over the prompt's cached positions."""
        if index == 0:
            return self.prefill(workload)
        return self._pass(workload.batch_size, past=workload.prompt_tokens + index - 1, new=1)

    def decode(self, workload: Workload, steps: int) -> Floor | None:
        """The mean floor of the first `steps` decode steps; `None` for none."""
        return mean([self.step(workload, index) for index in range(1, steps + 1)])

    def series(self, workload: Workload) -> dict[str, float]:
        """The floor of every latency that a table shows, in nanoseconds, by the name of its series."""
        prefill, decode = self.prefill(workload), self.decode(workload, workload.output_tokens - 1)
        ttft = {"ttft": prefill.ns, "ttft_device": prefill.ns}
        if decode is None:
            return {**ttft, "e2e": prefill.ns}
        whole = prefill.ns + (workload.output_tokens - 1) * decode.ns
        return {**ttft, "tpot": decode.ns, "tpot_device": decode.ns, "e2e": whole}

    def _pass(self, rows: int, *, past: int, new: int) -> Floor:
        """max(bytes / bandwidth, operations / rate) of one device of all that share the work, and their sums."""
        limits, work = self.limits, self.work
        amounts = {
            Limit.READING: (work.pass_bytes(rows=rows, past=past) / work.ranks, limits.reading),
            Limit.COMPUTING: (work.pass_flops(rows=rows, past=past, new=new) / work.ranks, limits.computing),
        }
        times = {limit: NS_PER_S * amount / rate.measured for limit, (amount, rate) in amounts.items()}
        least = max(NS_PER_S * amount / rate.ceiling for amount, rate in amounts.values())
        bound = max(times, key=lambda limit: times[limit])
        sent = work.split.link_bytes(rows=rows, new=new) if work.split and limits.link else 0.0
        on_link, least_on_link = (NS_PER_S * sent / rate for rate in _both(limits.link))
        return Floor(ns=times[bound] + on_link, least_ns=least + least_on_link, limit=bound)


def _both(rate: Rate | None) -> tuple[float, float]:
    return (rate.measured, rate.ceiling) if rate else (math.inf, math.inf)


def mean(floors: Sequence[Floor]) -> Floor | None:
    """The floor of the mean time of several passes; `None` for none."""
    if not floors:
        return None
    ns, least_ns = (sum(times) / len(floors) for times in zip(*((f.ns, f.least_ns) for f in floors), strict=True))
    return Floor(ns=ns, least_ns=least_ns, limit=floors[-1].limit)


def strongest(rooflines: Iterable[Roofline]) -> Roofline | None:
    """One roofline for several sessions of a cell: a limit is a maximum, so the best of each; `None` for none."""
    found = tuple(rooflines)
    if not found:
        return None
    limits = [roofline.limits for roofline in found]
    links = [each.link for each in limits if each.link is not None]
    return Roofline(
        limits=Limits(
            reading=_best(each.reading for each in limits),
            computing=_best(each.computing for each in limits),
            link=_best(links) if links else None,
        ),
        work=found[-1].work,
    )


def _best(rates: Iterable[Rate]) -> Rate:
    return max(rates, key=lambda rate: rate.measured)
