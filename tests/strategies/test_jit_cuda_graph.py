"""Compiled and captured passes give what eager ones give, and prove that they were both."""

import pytest
import torch

from perfsuite.core.errors import StrategyUnavailableError
from perfsuite.core.workload import DEFAULT_SAMPLING, ModelSpec, SamplingParams
from perfsuite.measure.opening import opened
from perfsuite.strategies.eager import EagerStrategy
from perfsuite.strategies.jit_cuda_graph import JitCudaGraphStrategy
from tests.strategies.families import STATIC, small_model
from tests.strategies.test_jit import TOLERANCE, answer, assert_same_up_to_ties, invalid, request, workload

TINY = ModelSpec(name="tiny")
FLAT = SamplingParams(temperature=1e6)

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_without_a_gpu_it_is_unavailable():
    with (
        pytest.raises(StrategyUnavailableError, match="jit-cuda-graph needs an NVIDIA GPU"),
        opened(JitCudaGraphStrategy(), ModelSpec(name="tiny", device="cpu"), (workload(),)),
    ):
        pass


def test_what_is_not_open_says_so():
    strategy = JitCudaGraphStrategy()
    for ask in (strategy.facts, strategy.evidence, strategy.memory, lambda: strategy.next_token_logits(((1,),))):
        with pytest.raises(RuntimeError, match="not open"):
            ask()


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", ["tiny", *STATIC])
def test_greedy_tokens_are_those_of_eager_up_to_ties(tmp_path, kind, dtype):
    if kind != "tiny":
        small_model(kind).save_pretrained(tmp_path)
    spec = ModelSpec(name=kind if kind == "tiny" else str(tmp_path), dtype=dtype)
    with (
        opened(JitCudaGraphStrategy(), spec, (workload(40), workload(7), workload(20, rows=4))) as hybrid,
        opened(EagerStrategy(), spec) as eager,
    ):
        for asked in (request(40), request(7), request(20, rows=4), request(23)):
            assert_same_up_to_ties(hybrid, eager, asked, TOLERANCE[dtype])
        assert invalid(hybrid) == ()


@pytest.fixture(scope="module")
def tiny():
    with opened(JitCudaGraphStrategy(), TINY, (workload(sampling=FLAT),)) as strategy:
        yield strategy


@pytest.mark.gpu
@on_gpu
def test_every_step_is_a_replay_of_what_was_compiled_and_captured(tiny):
    replayed = tiny.evidence().graphs_replayed
    for _ in range(3):
        answer(tiny, request(output_tokens=8, sampling=FLAT))
    evidence = tiny.evidence()
    assert (evidence.compiled_regions, evidence.graphs_captured) == (2, 2)
    assert evidence.graphs_replayed - replayed == 24
    assert (evidence.graph_breaks, evidence.recompiles, evidence.kernel_fallbacks) == (0, 0, 0)
    assert evidence.notes[-1] == "passes prepared after opening: 0"


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("sampling", [FLAT, DEFAULT_SAMPLING], ids=["flat", "default"])
def test_the_same_seed_repeats_itself_whatever_came_between(tiny, sampling):
    asked = request(sampling=sampling)
    expected = answer(tiny, asked)
    answer(tiny, request(output_tokens=3, sampling=SamplingParams(temperature=1e6, seed=7)))
    assert answer(tiny, asked) == expected


@pytest.mark.gpu
@on_gpu
def test_closing_gives_the_memory_back():
    held = []
    for _ in range(3):
        with opened(JitCudaGraphStrategy(), TINY, (workload(),)) as strategy:
            answer(strategy, request())
        held.append(torch.cuda.memory_allocated())
    assert held[1] == held[2]  # the first leaves the libraries' workspace behind
