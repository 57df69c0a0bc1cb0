"""Whole runs on a GPU that is lost or full. Needs a CUDA device."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import torch

from tests.plugin.conftest import Run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
ON_DEVICE = (
    "--perf-device=cuda",
    "--perf-sessions=1",
    "--perf-monitor=off",
    "--perf-interleave=off",
    "--perf-samples=40",
)
FILL = """
import sys, torch
torch.cuda.init()
free, _ = torch.cuda.mem_get_info()
held = torch.empty(free - int(float(sys.argv[1]) * 2**30), dtype=torch.uint8, device="cuda")
print("full", flush=True)
sys.stdin.read()
"""
Fill = Callable[[float], None]


@pytest.fixture
def leave() -> Iterator[Fill]:
    """Leave so many GiB of the device's memory to others."""
    with ExitStack() as stack:

        def fill(gib: float) -> None:
            command = [sys.executable, "-c", FILL, str(gib)]
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "full\n"

        yield fill


def test_a_kernel_that_asserts_costs_its_own_cell_and_the_others_are_measured_in_a_fresh_process(run: Run) -> None:
    both = "--perf-strategy=tests.faulty:AssertsOnDevice,eager"
    result = run("--perf", both, "--perf-prompt-lengths=10,20,30", *ON_DEVICE)
    result.assert_outcomes(failed=4, skipped=20)
    lost = "*AssertsOnDevice/tiny/p20-o4*invalid*the process lost its device: CUDA error: device-side assert triggered*"
    result.stdout.fnmatch_lines([lost])
    for measured in ("AssertsOnDevice/tiny/p10-o4", "AssertsOnDevice/tiny/p30-o4", "eager/tiny/p20-o4"):
        result.stdout.fnmatch_lines([f"perf {measured} session 1: TTFT P50 * n=40"])
    assert sum("a session lost the device" in line for line in result.outlines) == 1


@pytest.mark.parametrize("strategy", ["eager", "cuda-graph"])
def test_a_model_that_finds_no_room_fails_with_the_sizes_and_the_next_one_is_measured(
    run: Run, leave: Fill, strategy: str
) -> None:
    leave(3)
    result = run("--perf", f"--perf-strategy={strategy}", "--perf-model=llama-2-7b,tiny", *ON_DEVICE)
    result.assert_outcomes(failed=8, skipped=8)
    result.stdout.fnmatch_lines([f"*{strategy}/llama-2-7b/p10-o4*out of memory*the weights take 12.6 GiB*were free*"])
    result.stdout.fnmatch_lines([f"*{strategy}/tiny/p10-o4: no baseline*"])


def test_batches_that_find_no_room_fail_with_the_sizes_and_other_cells_are_measured(run: Run, leave: Fill) -> None:
    leave(4)
    model = ("--perf-model=tinyllama-1.1b", "--perf-batch-size=16", "--perf-prompt-lengths=10,2000")
    result = run("--perf", "--perf-strategy=cuda-graph,eager", *model, *ON_DEVICE)
    result.assert_outcomes(failed=8, skipped=8)
    for strategy in ("cuda-graph", "eager"):
        told = f"{strategy}/tinyllama-1.1b/p2000-o4-b16: *out of memory*the weights take 2*cache*are free; lower*"
        result.stdout.fnmatch_lines([told])
        result.stdout.fnmatch_lines([f"perf {strategy}/tinyllama-1.1b/p10-o4-b16 session 1: TTFT P50 * n=40"])
