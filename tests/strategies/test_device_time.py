"""A device is slowed by the fraction that was asked for, of what its steps take by themselves."""

from statistics import median

import pytest
import torch

from perfsuite.core.sample import Request
from perfsuite.core.workload import ModelSpec, SamplingParams, Workload
from perfsuite.measure.opening import create, opened
from perfsuite.measure.strategy import SlowsDevice
from perfsuite.strategies._device_time import Brake, StepKind, Stopwatch, added_time_ns

PREFILL = StepKind("prefill", 1, 10)
ASKED = Request(prompts=(tuple(range(10)),), output_tokens=4, sampling=SamplingParams(temperature=0))

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def waits(monkeypatch):
    """The busy waits that a brake asks for, in cycles of a device of two a nanosecond."""
    asked = []
    monkeypatch.setattr("perfsuite.strategies._device_time._cycles_per_ns", lambda device: 2.0)
    monkeypatch.setattr("perfsuite.strategies._device_time._wait", asked.append)
    monkeypatch.setattr("torch.cuda.device", lambda device: torch.no_grad())
    return asked


def run(brake, kind, natural_ns):
    """A step that takes `natural_ns` by itself, and what the brake adds."""
    before = len(waits_of[brake])
    brake.apply(kind)
    added = sum(cycles / 2 for cycles in waits_of[brake][before:])
    brake.learn([round(natural_ns + added)])
    return added


waits_of = {}


@pytest.fixture
def brake(waits):
    made = Brake(torch.device("cuda", 0), 0.5)
    waits_of[made] = waits
    yield made
    del waits_of[made]


def test_nothing_is_added_while_nothing_is_known():
    assert added_time_ns([], 0.1) == 0


def test_a_fraction_of_the_median_is_added():
    assert added_time_ns([100, 300, 10_000], 0.1) == 30


def test_the_first_step_of_a_kind_goes_free(brake):
    assert run(brake, PREFILL, 1000) == 0


def test_what_was_added_does_not_count_as_natural(brake):
    assert [run(brake, PREFILL, 1000) for _ in range(4)] == [0, 500, 500, 500]


def test_kinds_are_slowed_by_their_own_times(brake):
    longer = PREFILL._replace(prompt_tokens=400)
    run(brake, PREFILL, 1000)
    run(brake, longer, 4000)
    assert (run(brake, PREFILL, 1000), run(brake, longer, 4000)) == (500, 2000)


@pytest.mark.gpu
@needs_gpu
def test_a_calibrated_wait_takes_as_long_as_asked():
    device = torch.device("cuda", 0)
    brake, watch = Brake(device, 0.5), Stopwatch(device)
    brake._added_ns[PREFILL] = 2_000_000
    for _ in range(5):
        watch.record()
        brake.apply(PREFILL)
        watch.record()
    torch.cuda.synchronize()
    assert median(watch.durations_ns()) == pytest.approx(2_000_000, rel=0.03)


@pytest.mark.gpu
@needs_gpu
def test_every_step_of_a_slowed_strategy_takes_longer_by_the_fraction():
    workload = Workload(prompt_tokens=10, output_tokens=4, sampling=ASKED.sampling)
    strategy = create("perfsuite.strategies.cuda_graph:CudaGraphStrategy")
    with opened(strategy, ModelSpec(name="tiny"), (workload,)):
        assert isinstance(strategy, SlowsDevice)
        natural = steps(strategy)
        strategy.slow_device(0.5)
        steps(strategy)
        slowed = steps(strategy)
        strategy.slow_device(0)
        again = steps(strategy)
    for index in range(4):
        assert slowed[index] / natural[index] == pytest.approx(1.5, rel=0.1)
        assert again[index] / natural[index] == pytest.approx(1.0, rel=0.1)


def steps(strategy):
    """Median device time of each step over many requests."""
    taken = []
    for _ in range(50):
        list(strategy.stream(ASKED))
        taken.append(strategy.device_ns())
    return [median(step) for step in zip(*taken, strict=True)]
