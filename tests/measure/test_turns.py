"""Turns as a worker meets them: what a line says, and on which core the thread that measures is meanwhile."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.sample import Chunk, Phase, Request
from perfsuite.core.workload import ModelFacts, ModelSpec, Workload
from perfsuite.measure.recorder import Recorder
from perfsuite.measure.take import CellTake
from perfsuite.measure.turns import Binding, Turn, Turns, allowed_cores
from tests.scripted import MS, Scripted

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="threads are bound to cores on Linux only")
CELL = Cell(strategy="scripted", model=ModelSpec(name="tiny"), workload=Workload(prompt_tokens=10, output_tokens=2))
OPTIONS = MeasureOptions(samples=6, decode_samples=2, block_size=3, warmup=2)


class Watched(Scripted):
    """Notes on which cores it was asked."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.cores: list[frozenset[int]] = []
        self.breaks_after = 1000

    def facts(self) -> ModelFacts:
        return replace(super().facts(), device=self.device)

    def stream(self, request: Request) -> Iterator[Chunk]:
        self.cores.append(allowed_cores())
        if len(self.cores) > self.breaks_after:
            raise RuntimeError("CUDA error: device-side assert triggered")
        yield from super().stream(request)


def in_turns(strategy: Scripted, *lines: str) -> tuple[CellTake, list[tuple[int, ...]]]:
    """What was taken when the run gives turns by these lines, and what it was told before each of them."""
    told: list[tuple[int, ...]] = []
    turns = Turns(told.append)
    for line in lines:
        turns.give(line)
    recorder = Recorder(strategy, strategy.scripted_clock, OPTIONS, lambda _: None, turns=turns)
    (take,) = recorder.measure((CELL,), order_seed=0)
    return take, told


def test_an_empty_line_is_a_turn_as_the_job_has_it() -> None:
    take, told = in_turns(Scripted(), "", "", "")
    assert [sample.block for sample in take.samples if sample.phase is Phase.PREFILL] == [0, 0, 0, 1, 1, 1]
    assert told == [(5 * MS,)] * 3


def test_blocks_are_as_long_as_the_first_turn_says() -> None:
    two = Turn(requests=2).line
    take, _ = in_turns(Scripted(), two, two, two, two)
    assert [sample.block for sample in take.samples if sample.phase is Phase.PREFILL] == [0, 0, 1, 1, 2, 2]
    assert len([sample for sample in take.warmups if sample.phase is Phase.PREFILL]) == 2 + 3


def test_the_first_request_of_a_turn_counts_if_it_says_so() -> None:
    take, _ = in_turns(Scripted(), *[Turn(requests=1, first_counts=True).line] * 7)
    assert [sample.block for sample in take.samples if sample.phase is Phase.PREFILL] == list(range(6))
    assert len([sample for sample in take.warmups if sample.phase is Phase.PREFILL]) == 2


@on_linux
def test_what_works_for_a_gpu_is_asked_on_the_core_of_the_turn_and_is_free_after_the_last() -> None:
    before = allowed_cores()
    first, last = min(before), max(before)
    if first == last:
        pytest.skip("needs two cores")
    strategy = Watched("cuda:0")
    in_turns(strategy, Turn(core=first).line, Turn(core=last).line, Turn(core=first).line)
    asked = strategy.cores[-10:]
    assert asked == [frozenset({first})] * 5 + [frozenset({last})] * 5
    assert set(strategy.cores[:-10]) == {before}
    assert allowed_cores() == before


@on_linux
def test_what_computes_on_a_cpu_keeps_all_its_cores() -> None:
    strategy = Watched("cpu")
    in_turns(strategy, *[Turn(core=min(allowed_cores())).line] * 3)
    assert set(strategy.cores) == {allowed_cores()}


@on_linux
def test_a_core_that_may_not_be_used_leaves_the_thread_free() -> None:
    before, binding = allowed_cores(), Binding()
    assert binding.bind(min(before))
    assert not binding.bind(10**6)
    assert frozenset(os.sched_getaffinity(0)) == before


def test_a_lost_device_leaves_the_thread_free() -> None:
    before = allowed_cores()
    strategy = Watched("cuda:0")
    strategy.breaks_after = 6
    in_turns(strategy, *[Turn(core=min(before)).line] * 3)
    assert allowed_cores() == before
