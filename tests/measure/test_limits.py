"""The best run of each gauge counts, by the device's clock where there is one; doubt lies above it."""

from collections.abc import Iterator

import pytest

from perfsuite.core.roofline import Limit, Rate
from perfsuite.measure.clock import ScriptedClock
from perfsuite.measure.limits import BUDGET_NS, MOST_RUNS, measure_limits
from tests.scripted import MS, ScriptedGauge


@pytest.fixture
def clock() -> ScriptedClock:
    return ScriptedClock()


def reading(clock: ScriptedClock, *gauges: ScriptedGauge) -> Rate:
    """The read bandwidth of these gauges beside a product that does not matter."""
    limits = measure_limits((*gauges, ScriptedGauge(clock, Limit.COMPUTING)), clock)
    assert limits is not None
    return limits.reading


def test_the_fastest_run_is_the_limit(clock: ScriptedClock) -> None:
    """1000 bytes in 2 ms."""
    assert reading(clock, ScriptedGauge(clock, Limit.READING, (9, 2, 5))).measured == 1000 / 0.002


def test_each_limit_has_its_own_gauges(clock: ScriptedClock) -> None:
    gauges = (ScriptedGauge(clock, Limit.READING, (2,)), ScriptedGauge(clock, Limit.COMPUTING, (4,), amount=8000))
    limits = measure_limits(gauges, clock)
    assert limits is not None
    assert (limits.reading.measured, limits.computing.measured) == (500_000, 2_000_000)


def test_the_host_s_clock_leaves_more_doubt_than_the_device_s(clock: ScriptedClock) -> None:
    by_host = reading(clock, ScriptedGauge(clock, Limit.READING, (2,)))
    by_device = reading(clock, ScriptedGauge(clock, Limit.READING, (2,), on_device=True))
    assert (by_host.measured, by_host.ceiling) == (500_000, 1_000_000)
    assert (by_device.measured, by_device.ceiling) == (1_000_000, 1_250_000)


def test_one_thread_bounds_what_all_of_them_can_do(clock: ScriptedClock) -> None:
    """All eight took 1 ms, one alone 4: eight could read 2000 bytes in a millisecond, with doubt twice as many."""
    together = ScriptedGauge(clock, Limit.READING, (1,))
    alone = ScriptedGauge(clock, Limit.READING, (4,), parts=8)
    assert reading(clock, together, alone) == Rate(measured=1e6, ceiling=4e6)


def test_one_thread_that_is_faster_than_all_of_them_is_the_limit(clock: ScriptedClock) -> None:
    together = ScriptedGauge(clock, Limit.READING, (100,))
    alone = ScriptedGauge(clock, Limit.READING, (1,), parts=2)
    assert reading(clock, together, alone).measured == 1e6


def test_a_gauge_ends_with_its_budget(clock: ScriptedClock) -> None:
    gauge = ScriptedGauge(clock, Limit.READING, (1,))
    reading(clock, gauge)
    assert gauge.runs == BUDGET_NS // MS


def test_a_gauge_that_takes_longer_than_the_budget_is_run_once(clock: ScriptedClock) -> None:
    gauge = ScriptedGauge(clock, Limit.READING, (1000,))
    assert reading(clock, gauge).measured == 1000
    assert gauge.runs == 1


def test_a_clock_that_stands_still_shows_no_limit(clock: ScriptedClock) -> None:
    gauge = ScriptedGauge(clock, Limit.READING, (0,))
    assert measure_limits((gauge, ScriptedGauge(clock, Limit.COMPUTING)), clock) is None
    assert gauge.runs == MOST_RUNS


def test_one_limit_alone_is_not_enough(clock: ScriptedClock) -> None:
    assert measure_limits((ScriptedGauge(clock, Limit.READING),), clock) is None
    assert measure_limits((), clock) is None


def test_a_gauge_is_let_go_before_the_next_is_made(clock: ScriptedClock) -> None:
    alive: list[str] = []

    class Counted(ScriptedGauge):
        def __init__(self, limit: Limit) -> None:
            super().__init__(clock, limit)
            assert alive == []
            alive.append(limit.value)

        def __del__(self) -> None:
            alive.remove(self.limit.value)

    def gauges() -> Iterator[ScriptedGauge]:
        yield Counted(Limit.READING)
        yield Counted(Limit.COMPUTING)
        assert alive == []

    assert measure_limits(gauges(), clock) is not None
