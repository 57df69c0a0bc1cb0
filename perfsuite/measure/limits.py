"""Owns the measuring of a device's limits: each gauge a few times, the best run counts.

A limit is a maximum, so nothing that slows a run makes it wrong but too low. How much too low it may be is its doubt.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from perfsuite.core.roofline import Limit, Limits, Rate
from perfsuite.core.units import NS_PER_MS, NS_PER_S
from perfsuite.measure.clock import Clock
from perfsuite.measure.strategy import Gauge

BUDGET_NS = 120 * NS_PER_MS
"""Time after which a gauge is not run again: half a second for the four gauges of a CPU, a quarter for a GPU's two."""
MOST_RUNS = 200
DOUBT_OF_DEVICE = 1.25
"""A GPU's clocks and power limit move its rates by some 10 %; a sum reaches 91 % of its memory's nominal bandwidth, and
a pass does not reach the rate of one large product. So no honest pass goes beyond 1.25 times what was measured."""
DOUBT_OF_HOST = 2.0
"""The same loop on the same core has taken 1.2 and 2.9 ms within a minute on a shared host; a pass reaches 85 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """What one gauge showed: the amount per second of its best run, and what that says of the whole device at most."""

    limit: Limit
    rate: float
    ceiling: float


def measure_limits(gauges: Iterable[Gauge], clock: Clock) -> Limits | None:
    """The limits that these gauges show; `None` if one of the two of each device was not shown."""
    found = [finding for finding in map(partial(_best, clock), gauges) if finding]  # where no name keeps a gauge alive
    rates = {limit: _rate([finding for finding in found if finding.limit is limit]) for limit in Limit}
    reading, computing, link = rates[Limit.READING], rates[Limit.COMPUTING], rates[Limit.LINK]
    return Limits(reading=reading, computing=computing, link=link) if reading and computing else None


def _rate(found: list[_Finding]) -> Rate | None:
    """The best that any gauge showed, one thread's as well: what a part of the device can do, the whole can do too."""
    if not found:
        return None
    return Rate(measured=max(finding.rate for finding in found), ceiling=max(finding.ceiling for finding in found))


def _best(clock: Clock, gauge: Gauge) -> _Finding | None:
    """The fastest run, by the device's own clock where there is one; `None` if the clock did not move."""
    began_ns = clock.now_ns()
    times: list[int] = []
    while len(times) < MOST_RUNS and (not times or clock.now_ns() - began_ns < BUDGET_NS):
        times.append(_time(gauge, clock))
    fastest_ns = min((time_ns for time_ns in times if time_ns > 0), default=None)
    if fastest_ns is None:
        return None
    rate = NS_PER_S * gauge.amount / fastest_ns
    doubt = DOUBT_OF_HOST if gauge.device_ns() is None else DOUBT_OF_DEVICE
    return _Finding(limit=gauge.limit, rate=rate, ceiling=doubt * gauge.parts * rate)


def _time(gauge: Gauge, clock: Clock) -> int:
    before_ns = clock.now_ns()
    gauge.run()
    taken_ns = clock.now_ns() - before_ns
    device_ns = gauge.device_ns()
    return taken_ns if device_ns is None else device_ns
