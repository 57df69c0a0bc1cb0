"""Owns the roofline: the least time a pass can take, by what it has to read and compute and what the device can do.

docs/roofline.md has the formula, and why a limit has a ceiling above what was measured.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from perfsuite.core.units import NS_PER_S, format_si
from perfsuite.core.work import ModelWork
from perfsuite.core.workload import Workload


class Limit(Enum):
    """What bounds a pass: how fast the device reads memory (bytes/s), or multiplies matrices (FLOP/s)."""

    READING = "read bandwidth"
    COMPUTING = "matrix rate"

    @property
    def unit(self) -> str:
        return "B/s" if self is Limit.READING else "FLOP/s"


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
    """What one device was found to be able to do in one session: `reading` in bytes/s, `computing` in FLOP/s."""

    reading: Rate
    computing: Rate

    def rate(self, limit: Limit) -> Rate:
        return self.reading if limit is Limit.READING else self.computing

    def words(self, limit: Limit) -> str:
        """'read bandwidth 3.06 TB/s'."""
        return f"{limit.value} {format_si(self.rate(limit).measured, limit.unit)}"


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
        """max(bytes / bandwidth, operations / rate)."""
        amounts = {
            Limit.READING: self.work.pass_bytes(rows=rows, past=past),
            Limit.COMPUTING: self.work.pass_flops(rows=rows, past=past, new=new),
        }
        times = {limit: NS_PER_S * amount / self.limits.rate(limit).measured for limit, amount in amounts.items()}
        least = (NS_PER_S * amount / self.limits.rate(limit).ceiling for limit, amount in amounts.items())
        bound = max(times, key=lambda limit: times[limit])
        return Floor(ns=times[bound], least_ns=max(least), limit=bound)


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
    return Roofline(
        limits=Limits(reading=_best(limits, Limit.READING), computing=_best(limits, Limit.COMPUTING)),
        work=found[-1].work,
    )


def _best(limits: Iterable[Limits], limit: Limit) -> Rate:
    return max((each.rate(limit) for each in limits), key=lambda rate: rate.measured)
