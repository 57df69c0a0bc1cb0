"""The canaries beside the blocks: when they run, what counts as a reading, and that no sample comes from them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from typing import cast

import pytest

from perfsuite.core.canary import Canary
from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.canary import RUNS, Canaries, beside
from perfsuite.measure.clock import ScriptedClock
from perfsuite.measure.recorder import CellTake, Recorder
from perfsuite.measure.strategy import CarriedCanary, Strategy
from perfsuite.strategies.fake import CANARY_NS, FakeStrategy, Script
from tests.scripted import MS, Scripted

OPTIONS = MeasureOptions(samples=6, decode_samples=3, block_size=2, warmup=5)


def make_cell(prompt_tokens: int = 10) -> Cell:
    workload = Workload(prompt_tokens=prompt_tokens, output_tokens=4)
    return Cell(strategy="scripted", model=ModelSpec(name="tiny"), workload=workload)


class Timed:
    """A canary that takes `durations_ms` in turn, on the device half of that if `on_device`."""

    def __init__(
        self, clock: ScriptedClock, canary: Canary, durations_ms: Sequence[int], *, on_device: bool = False
    ) -> None:
        self.canary = canary
        self.runs = 0
        self._clock = clock
        self._durations: Iterator[int] = cycle(durations_ms)
        self._on_device = on_device
        self._last_ns = 0

    def run(self) -> None:
        self.runs += 1
        self._last_ns = next(self._durations) * MS
        self._clock.wait_ns(self._last_ns)

    def device_ns(self) -> int | None:
        return self._last_ns // 2 if self._on_device else None


class Carrying(Scripted):
    """Carries a canary of `durations_ms` for each of `kinds`; the graph's knows its device time."""

    def __init__(self, durations_ms: Sequence[int] = (1,), kinds: Sequence[Canary] = (Canary.HOST,)) -> None:
        super().__init__()
        self.carried = [
            Timed(self.scripted_clock, kind, durations_ms, on_device=kind is Canary.GRAPH) for kind in kinds
        ]

    def canaries(self) -> Sequence[CarriedCanary]:
        return self.carried


def measure(strategy: Scripted, *cells: Cell) -> tuple[CellTake, ...]:
    recorder = Recorder(strategy, strategy.scripted_clock, OPTIONS, lambda progress: None)
    return recorder.measure(cells or (make_cell(),), order_seed=1)


def readings(take: CellTake) -> list[tuple[int, Canary, int]]:
    return [(reading.block, reading.canary, reading.duration_ns) for reading in take.canaries]


def test_a_reading_is_the_median_of_the_runs_before_and_after_the_block() -> None:
    (reading,) = beside(7, {Canary.HOST: (10, 20, 30)}, {Canary.HOST: (40, 50, 900)})
    assert (reading.block, reading.canary, reading.duration_ns) == (7, Canary.HOST, 35)


def test_one_slow_run_in_six_changes_no_reading() -> None:
    (reading,) = beside(0, {Canary.HOST: (10, 10, 10)}, {Canary.HOST: (9999, 10, 10)})
    assert reading.duration_ns == 10


def test_a_time_of_zero_is_no_reading() -> None:
    assert beside(0, {Canary.HOST: (0, 0, 0)}, {Canary.HOST: (0, 0, 0)}) == ()


def test_each_canary_has_its_own_reading_though_one_side_lacks_it() -> None:
    found = beside(0, {Canary.HOST: (10,)}, {Canary.HOST: (30,), Canary.GRAPH: (7,)})
    assert {reading.canary: reading.duration_ns for reading in found} == {Canary.HOST: 20, Canary.GRAPH: 7}


def test_no_runs_are_no_reading() -> None:
    assert beside(0, {}, {}) == ()


class Ticking:
    """A clock that is 5 ns later whenever it is read."""

    def __init__(self) -> None:
        self._now_ns = 0

    def now_ns(self) -> int:
        self._now_ns += 5
        return self._now_ns

    def wait_ns(self, duration_ns: int) -> None:
        raise AssertionError("a canary never waits")


def test_a_strategy_on_the_hosts_clock_has_the_hosts_loop_beside_it() -> None:
    plain = cast("Strategy", object())
    assert Canaries(plain, Ticking()).read() == {Canary.HOST: (5,) * RUNS}


def test_a_scripted_strategy_has_no_canary_unless_it_carries_one() -> None:
    strategy = Scripted()
    assert Canaries(strategy, strategy.scripted_clock).read() == {}


def test_a_scripted_strategy_carries_a_host_canary_of_its_own() -> None:
    strategy = Carrying((1, 2, 3))
    assert Canaries(strategy, strategy.scripted_clock).read() == {Canary.HOST: (1 * MS, 2 * MS, 3 * MS)}


def test_a_canary_that_the_device_times_has_a_reading_by_each_clock() -> None:
    strategy = Carrying((4,), (Canary.GRAPH,))
    read = Canaries(strategy, strategy.scripted_clock).read()
    assert read == {Canary.GRAPH: (4 * MS,) * RUNS, Canary.DEVICE: (2 * MS,) * RUNS}


def test_a_cell_has_one_reading_per_block_and_canary() -> None:
    (take,) = measure(Carrying((4,), (Canary.HOST, Canary.GRAPH)))
    expected = {Canary.HOST: 4 * MS, Canary.GRAPH: 4 * MS, Canary.DEVICE: 2 * MS}
    assert readings(take) == [(block, canary, ns) for block in range(3) for canary, ns in expected.items()]


def test_every_cell_has_the_readings_beside_its_own_blocks() -> None:
    takes = measure(Carrying(), make_cell(10), make_cell(20))
    assert [[block for block, _, _ in readings(take)] for take in takes] == [[0, 1, 2]] * 2


def test_the_reading_before_a_block_is_the_one_after_the_block_before() -> None:
    """Three runs of 1 ms to warm up, then 2, 3, 4 and 5 ms around three blocks."""
    strategy = Carrying([ms for ms in (1, 2, 3, 4, 5) for _ in range(RUNS)])
    (take,) = measure(strategy)
    assert readings(take) == [(block, Canary.HOST, round((block + 2.5) * MS)) for block in range(3)]
    assert strategy.carried[0].runs == 5 * RUNS


def test_canaries_are_no_samples_and_no_requests() -> None:
    plain, carrying = Scripted(), Carrying((7,))
    (without,), (beside_canary,) = measure(plain), measure(carrying)
    assert [replace(s, sent_ns=None) for s in beside_canary.samples] == [
        replace(s, sent_ns=None) for s in without.samples
    ]
    assert beside_canary.warmups == without.warmups
    assert carrying.requests == plain.requests


def test_without_a_canary_a_cell_has_no_readings() -> None:
    (take,) = measure(Scripted())
    assert take.canaries == []


@pytest.mark.parametrize("host_sd", [0.0, 0.1])
def test_the_fake_hosts_canary_tells_its_speed(host_sd: float) -> None:
    """Prompt passes and canary are slower by the same factor while the host keeps its speed."""
    strategy = FakeStrategy(Script(host_sd=host_sd, session_sd=0, sample_sd=0, seed=3))
    clock = strategy.scripted_clock
    recorder = Recorder(strategy, clock, OPTIONS, lambda progress: None)
    (take,) = recorder.measure((make_cell(),), order_seed=1)
    (factor,) = {reading.duration_ns / CANARY_NS for reading in take.canaries}
    assert (factor == 1) is (host_sd == 0)
    assert take.samples[0].ttft_ns == pytest.approx(factor * (4 * MS + 10 * 5000), rel=1e-6)


def test_the_fake_device_does_not_notice_its_host() -> None:
    strategy = FakeStrategy(Script(host_sd=0.1, session_sd=0, sample_sd=0, device_share=0.9, seed=3))
    recorder = Recorder(strategy, strategy.scripted_clock, OPTIONS, lambda progress: None)
    (take,) = recorder.measure((make_cell(),), order_seed=1)
    assert take.samples[0].ttft_device_ns == round(0.9 * (4 * MS + 10 * 5000))
