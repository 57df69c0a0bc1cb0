"""What becomes of samples that were taken while the machine was disturbed."""

from collections import Counter

import pytest

from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.reading import DeviceReading, Monitoring
from perfsuite.core.rules import HARDWARE_THERMAL
from perfsuite.core.sample import Phase
from perfsuite.core.validity import GIVEN_UP_AFTER
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.recorder import Recorder
from perfsuite.measure.take import CellTake
from tests.scripted import MS, Scripted

OPTIONS = MeasureOptions(samples=20, decode_samples=5, block_size=5, warmup=0)
"""Four blocks: five requests of 5 ms, and one or two of 5 + 3 * 2 ms."""


class ScriptedWatcher:
    """Sees the throttled GPU during the given stretches of scripted milliseconds, and nothing else."""

    def __init__(self, *hot_ms: tuple[float, float]) -> None:
        self._hot = hot_ms
        self.looks = 0

    def monitoring(self, until_ns: int) -> Monitoring:
        self.looks += 1
        return Monitoring(
            device=tuple(
                DeviceReading(
                    at_ns=round((begin + end) / 2 * MS), span_ns=round((end - begin) / 2 * MS), reasons=HARDWARE_THERMAL
                )
                for begin, end in self._hot
                if begin * MS < until_ns
            )
        )


def take_of(watcher: ScriptedWatcher, strategy: Scripted | None = None) -> CellTake:
    strategy = strategy or Scripted()
    cell = Cell(strategy="s", model=ModelSpec(name="tiny"), workload=Workload(prompt_tokens=10, output_tokens=4))
    recorder = Recorder(strategy, strategy.scripted_clock, OPTIONS, lambda _: None, watcher)
    (take,) = recorder.measure((cell,), order_seed=0)
    return take


def phases(samples: list[object]) -> Counter[Phase]:
    return Counter(sample.phase for sample in samples)  # type: ignore[attr-defined]


WANTED = Counter({Phase.PREFILL: 20, Phase.DECODE: 5})


def test_every_sample_knows_when_it_was_sent_and_a_calm_machine_costs_none() -> None:
    take = take_of(ScriptedWatcher())
    assert [sample.sent_ns for sample in take.samples[:3]] == [11 * MS, 16 * MS, 21 * MS]
    assert (phases(take.samples), take.set_aside) == (WANTED, [])


def test_few_disturbed_samples_are_set_aside_and_as_many_taken_anew() -> None:
    """Sent at 11 and 16 ms, after a first call of 11 ms."""
    take = take_of(ScriptedWatcher((12, 20)))
    assert [sample.sent_ns for sample in take.set_aside] == [11 * MS, 16 * MS]
    assert phases(take.samples) == WANTED
    assert {sample.block for sample in take.samples} == {0, 1, 2, 3, 4}


def test_replacements_are_new_requests() -> None:
    strategy = Scripted()
    take_of(ScriptedWatcher((12, 20)), strategy)
    prompts = [request.prompts for request in strategy.requests if request.output_tokens == 1]
    assert len(set(prompts)) == len(prompts) == 22


def test_replacements_that_are_disturbed_as_well_are_replaced_once_more() -> None:
    """All 25 take 155 ms after the first call, so the two replacements are sent at 166 and 171 ms."""
    watcher = ScriptedWatcher((12, 20), (167, 168))
    take = take_of(watcher)
    assert [sample.sent_ns for sample in take.set_aside] == [11 * MS, 16 * MS, 166 * MS]
    assert phases(take.samples) == WANTED
    assert watcher.looks == 3


def test_what_is_still_disturbed_after_two_rounds_is_set_aside_and_missing() -> None:
    take = take_of(ScriptedWatcher((12, 13), (166, 168), (171, 173)))
    assert len(take.set_aside) == 3
    assert phases(take.samples) == Counter({Phase.PREFILL: 19, Phase.DECODE: 5})


def test_too_many_disturbed_samples_stay_where_they_are_and_nothing_is_replaced() -> None:
    take = take_of(ScriptedWatcher((12, 100)))
    assert (phases(take.samples), take.set_aside) == (WANTED, [])
    assert take.monitoring is not None
    assert len(take.monitoring.device) == 1


def test_canaries_stand_beside_the_replacements() -> None:
    class WithCanary(Scripted):
        def canaries(self) -> tuple[object, ...]:
            from perfsuite.strategies.fake import Script, _Host, _ScriptedCanary

            return (_ScriptedCanary(_Host(Script(), None), self.scripted_clock),)  # type: ignore[arg-type]

    take = take_of(ScriptedWatcher((16, 17)), WithCanary())
    assert {reading.block for reading in take.canaries} >= {sample.block for sample in take.samples}


class Allocating(Scripted):
    """Its allocator holds a byte more with every request since the peak was counted anew."""

    def __init__(self) -> None:
        super().__init__()
        self._since = 0

    def begin_peak(self) -> None:
        self._since = len(self.requests)

    def peak_bytes(self) -> int:
        return len(self.requests) - self._since


def test_the_peak_of_a_cell_is_that_of_its_largest_block_without_the_warm_up() -> None:
    """Five or six requests in turn: 20 + 5 over four blocks."""
    take = take_of(ScriptedWatcher(), Allocating())
    assert take.peak_bytes == 7


def test_a_strategy_that_does_not_know_its_peaks_has_none() -> None:
    take = take_of(ScriptedWatcher())
    assert (take.peak_bytes, take.device_used) == (None, None)


@pytest.mark.parametrize(("failures", "is_broken"), [(GIVEN_UP_AFTER - 1, False), (GIVEN_UP_AFTER, True)])
def test_a_take_is_broken_after_three_failures(failures: int, is_broken: bool) -> None:
    take = take_of(ScriptedWatcher())
    take.failures.extend([object()] * failures)  # type: ignore[list-item]
    assert take.is_broken is is_broken
