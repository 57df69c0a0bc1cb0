"""The gauges of a device: what they show is plausible, and their memory is given back."""

from dataclasses import replace

import pytest
import torch

from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.recording import Recording
from perfsuite.core.roofline import Limit
from perfsuite.core.validity import problems
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.clock import HostClock
from perfsuite.measure.limits import measure_limits
from perfsuite.measure.opening import opened
from perfsuite.measure.session import Event, SessionJob
from perfsuite.measure.worker import run_job
from perfsuite.strategies._gauges import MIB, MOST_READ_ON_CPU, HostGauge, _sizes, gauges_on, multiplied, summed
from perfsuite.strategies.eager import EagerStrategy

CPU = torch.device("cpu")
NOMINAL = {"H100": (3.35e12, 989e12), "H200": (4.8e12, 989e12), "A100": (2.04e12, 312e12)}
"""Bytes and FLOP (16 bits, dense) a second by the maker's data sheet."""

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def session_of(strategy, device):
    """One recording of the embedded model, with few samples."""
    cell = Cell(
        strategy=strategy.rpartition(":")[2],
        model=ModelSpec(name="tiny", device=device),
        workload=Workload(prompt_tokens=20, output_tokens=4),
    )
    measure = MeasureOptions(samples=10, decode_samples=3, warmup=2)
    job = SessionJob(reference=strategy, cells=(cell,), session=0, measure=measure)
    events: list[Event] = []
    run_job(job, events.append)
    (recording,) = events[-1].recordings or ()
    return recording


def test_a_sum_reads_what_it_says():
    assert summed(CPU, 4096).amount == 4096
    assert summed(CPU, 0).amount == 4


def test_a_product_takes_two_operations_an_element_and_row():
    piece = multiplied(CPU, torch.float32, 8)
    assert (piece.limit, piece.amount, piece.work().shape) == (Limit.COMPUTING, 1024, (8, 8))


def test_a_cpu_is_gauged_by_all_its_threads_and_by_one(two_threads):
    shown = [(gauge.limit, gauge.parts) for gauge in gauges_on(CPU, torch.float32, 4096)]
    assert shown == [(limit, parts) for limit in (Limit.READING, Limit.COMPUTING) for parts in (1, 2)]


def test_weights_that_fit_into_a_cache_are_read_from_there(two_threads):
    small, large = (next(gauges_on(CPU, torch.float32, size)).amount for size in (4096, 10**12))
    assert (small, large) == (4096, MOST_READ_ON_CPU)


@pytest.mark.parametrize(
    ("room", "weights", "sizes"),
    [
        (40_000, 3, [3, 1024]),
        (40_000, 2048, [2048]),
        (40_000, 13_000, [4096]),
        (2000, 13_000, [2000]),
        (1024, 3, [3, 1024]),
        (1023, 3, []),
    ],
)
def test_a_gpu_reads_as_much_as_the_weights_and_never_only_a_little(room, weights, sizes):
    """In MiB."""
    assert _sizes(room * MIB, weights * MIB) == [size * MIB for size in sizes]


def test_a_gauge_of_one_thread_leaves_the_others_as_they_were(two_threads):
    seen = []
    piece = replace(summed(CPU, 4), work=lambda: seen.append(torch.get_num_threads()))
    HostGauge(piece, threads=1, parts=2).run()
    assert (seen, torch.get_num_threads()) == ([1], 2)


def test_a_gauge_leaves_no_trace_in_the_random_numbers_of_others():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    multiplied(CPU, torch.float32, 8)
    assert torch.equal(torch.rand(3), expected)


def test_what_a_cpu_shows_is_plausible():
    """No CPU reads slower than 0.1 GB/s or faster than 100 TB/s; none multiplies slower than 0.1 GFLOP/s."""
    limits = measure_limits(gauges_on(CPU, torch.float32, 4 * MIB), HostClock())
    assert 1e8 < limits.reading.measured < limits.reading.ceiling < 1e14
    assert 1e8 < limits.computing.measured < limits.computing.ceiling < 1e16


def test_a_model_whose_work_is_unknown_has_no_gauges(monkeypatch):
    with opened(EagerStrategy(), ModelSpec(name="tiny", device="cpu")) as strategy:
        assert len(list(strategy.gauges())) >= 2
        loaded = strategy._loaded
        strategy._loaded = replace(loaded, facts=replace(loaded.facts, work=None))
        assert list(strategy.gauges()) == []


def test_a_session_on_a_cpu_knows_its_floors_and_keeps_above_them():
    recording = session_of("perfsuite.strategies.eager:EagerStrategy", "cpu")
    assert isinstance(recording, Recording)
    assert problems(recording) == ()
    floors = recording.roofline.series(recording.cell.workload)
    assert 0 < floors["tpot"] < floors["e2e"]


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_a_gpu_shows_is_near_its_data_sheet(dtype):
    device = torch.device("cuda", 0)
    name = torch.cuda.get_device_name(device)
    nominal = next((rates for part, rates in NOMINAL.items() if part in name), None)
    if nominal is None:
        pytest.skip(f"no data sheet of {name!r} here")
    limits = measure_limits(gauges_on(device, dtype, 2048 * MIB), HostClock())
    assert 0.1 * nominal[0] < limits.reading.measured < 1.1 * nominal[0]
    assert 0.1 * nominal[1] < limits.computing.measured < 1.1 * nominal[1]


@pytest.mark.gpu
@on_gpu
def test_small_weights_on_a_gpu_are_read_several_times_a_run():
    device = torch.device("cuda", 0)
    gauge = next(gauges_on(device, torch.float16, 4 * MIB))
    gauge.run()
    assert gauge.amount == 64 * 4 * MIB
    assert gauge.device_ns() > 0


@pytest.mark.gpu
@on_gpu
def test_a_gpu_gets_all_of_the_gauges_memory_back():
    """Within 100 MiB, which a library may keep as its workspace; the gauges take 2 GiB and 384 MiB."""
    device = torch.device("cuda", 0)
    torch.cuda.empty_cache()
    allocated, reserved = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    torch.cuda.reset_peak_memory_stats(device)
    assert measure_limits(gauges_on(device, torch.float16, 2048 * MIB), HostClock()) is not None
    assert torch.cuda.max_memory_allocated(device) - allocated > 2000 * MIB
    assert torch.cuda.max_memory_allocated(device) - allocated < 2300 * MIB
    assert torch.cuda.memory_allocated(device) - allocated < 100 * MIB
    assert torch.cuda.memory_reserved(device) - reserved < 100 * MIB


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize(
    "strategy", ["perfsuite.strategies.eager:EagerStrategy", "perfsuite.strategies.cuda_graph:CudaGraphStrategy"]
)
def test_a_session_on_a_gpu_keeps_above_its_floors_and_its_peak_is_without_the_gauges(strategy):
    """Three matrices of 8192 a side in 16 bits take 384 MiB, the model takes two."""
    recording = session_of(strategy, "cuda")
    assert problems(recording) == ()
    assert recording.roofline is not None
    assert recording.samples[0].device_ns is not None
    assert recording.memory.peak_allocated < 300 * MIB
