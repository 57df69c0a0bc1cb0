"""A watched GPU: what is read of it, and that somebody else on it is found. Needs a CUDA device."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from perfsuite.core.disturbance import findings
from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.reading import Place
from perfsuite.core.recording import Recording
from perfsuite.core.rules import Cause
from perfsuite.core.validity import problems
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.launcher import run_session
from perfsuite.measure.session import SessionJob
from perfsuite.strategies import references

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
BURN = """
import torch
a = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
print("burning", flush=True)
while True:
    a @ a
    torch.cuda.synchronize()
"""


def measure() -> Recording:
    cell = Cell(
        strategy="eager",
        model=ModelSpec(name="tinyllama-1.1b", device="cuda"),
        workload=Workload(prompt_tokens=100, output_tokens=32),
    )
    job = SessionJob(
        reference=references()["eager"],
        cells=(cell,),
        session=0,
        measure=MeasureOptions(samples=100, decode_samples=10),
        import_path=tuple(sys.path),
    )
    (recording,) = run_session(job, lambda _: None).recordings
    return recording


@pytest.fixture
def burning() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", BURN], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "burning\n"
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def test_a_session_alone_on_its_gpu_has_readings_and_no_findings_on_the_device() -> None:
    recording = measure()
    seen = recording.monitoring
    assert seen is not None
    assert seen.not_monitored == ()
    assert len(seen.device) >= 5
    on_device = {Cause.PROCESS, Cause.CLOCK, Cause.THROTTLE}
    assert not on_device & {finding.cause for finding in findings(recording.samples, seen)}
    assert problems(recording) == ()
    assert all(reading.sm_mhz and reading.memory_used for reading in seen.device)


def test_the_memory_and_the_energy_of_a_cell_are_told() -> None:
    from perfsuite.core.energy import energy_per_token
    from perfsuite.core.resources import peak_memory

    recording = measure()
    weights = recording.memory.weights or 0
    assert weights < (peak_memory(recording) or 0) < 2 * weights
    assert 0.01 < (energy_per_token(recording) or 0) < 100


def test_a_foreign_process_that_burns_the_gpu_makes_the_recording_invalid_and_is_named(burning: int) -> None:
    recording = measure()
    (problem,) = problems(recording)
    assert problem.startswith("the machine was disturbed: process ")
    seen = recording.monitoring
    assert seen is not None
    named = {neighbour.pid for neighbour in seen.neighbours if neighbour.place is Place.DEVICE}
    assert burning in named or len(named) == 1  # inside a container the driver may count otherwise
