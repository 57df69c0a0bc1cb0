"""Captured steps give what eager ones give, draw anew at each replay, and are counted."""

import subprocess
import sys

import pytest
import torch

from perfsuite.core.errors import DeviceMemoryError, StrategyUnavailableError
from perfsuite.core.sample import Request
from perfsuite.core.workload import DEFAULT_SAMPLING, ModelSpec, SamplingParams, Workload
from perfsuite.measure.opening import opened
from perfsuite.strategies._sampler import probabilities
from perfsuite.strategies.cuda_graph import CudaGraphStrategy
from perfsuite.strategies.eager import EagerStrategy
from tests.strategies.families import STATIC, small_model

TINY = ModelSpec(name="tiny")
GREEDY = SamplingParams(temperature=0)
FLAT = SamplingParams(temperature=1e6)
TOLERANCE = {"float32": 1e-3, "float16": 0.02, "bfloat16": 0.1}  # of the largest logit

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def workload(tokens=20, output_tokens=8, rows=1, sampling=GREEDY):
    return Workload(prompt_tokens=tokens, output_tokens=output_tokens, batch_size=rows, sampling=sampling)


def request(tokens=20, output_tokens=8, rows=1, sampling=GREEDY):
    drawn = torch.randint(3, 250, (rows, tokens), generator=torch.Generator().manual_seed(tokens)).tolist()
    return Request(prompts=tuple(map(tuple, drawn)), output_tokens=output_tokens, sampling=sampling)


def answer(strategy, asked):
    chunks = list(strategy.stream(asked))
    return [[chunk.token_ids[0] for chunk in chunks if chunk.row == row] for row in range(len(asked.prompts))]


def assert_same_up_to_ties(graph, eager, asked, share):
    """Greedy tokens agree; where a row first differs, eager finds both tokens equally good within `share`."""
    for prompt, ours, theirs in zip(asked.prompts, answer(graph, asked), answer(eager, asked), strict=True):
        differing = [index for index, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]]
        if differing:
            first = differing[0]
            (logits,) = eager.next_token_logits(((*prompt, *theirs[:first]),))
            gap = abs(logits[ours[first]] - logits[theirs[first]])
            assert gap <= share * logits.abs().max(), (asked, first, ours, theirs)


def saved(folder, kind):
    small_model(kind).save_pretrained(folder)
    return str(folder)


def test_without_a_gpu_it_says_what_it_needs():
    with (
        pytest.raises(StrategyUnavailableError, match=r"^cuda-graph needs an NVIDIA GPU; .* --perf-strategy eager$"),
        opened(CudaGraphStrategy(), ModelSpec(name="tiny", device="cpu")),
    ):
        pass


def test_what_is_not_open_says_so():
    strategy = CudaGraphStrategy()
    for ask in (strategy.facts, strategy.evidence, strategy.memory, lambda: strategy.next_token_logits(((1,),))):
        with pytest.raises(RuntimeError, match="not open"):
            ask()


@pytest.fixture(scope="module")
def tiny():
    with opened(CudaGraphStrategy(), TINY, (workload(sampling=FLAT), workload(rows=4, sampling=FLAT))) as strategy:
        yield strategy


@pytest.fixture
def fresh():
    with opened(CudaGraphStrategy(), TINY, (workload(),)) as strategy:
        yield strategy


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", ["tiny", *STATIC])
def test_greedy_tokens_are_those_of_eager_up_to_ties(tmp_path, kind, dtype):
    spec = ModelSpec(name=kind if kind == "tiny" else saved(tmp_path, kind), dtype=dtype)
    with (
        opened(CudaGraphStrategy(), spec, (workload(40, 20), workload(20, 20, rows=4))) as graph,
        opened(EagerStrategy(), spec) as eager,
    ):
        for asked in (request(40, 20), request(20, 20, rows=4), request(7, 20), request(1, 20)):
            assert_same_up_to_ties(graph, eager, asked, TOLERANCE[dtype])
            ours, theirs = graph.next_token_logits(asked.prompts), eager.next_token_logits(asked.prompts)
            assert (ours - theirs).abs().max() <= TOLERANCE[dtype] * theirs.abs().max()


@pytest.mark.gpu
@on_gpu
def test_prompt_lengths_may_come_in_any_order(tiny):
    penalised = SamplingParams(temperature=0, repetition_penalty=1.3)
    with opened(EagerStrategy(), TINY) as eager:
        for tokens in (50, 7, 64, 1, 33, 7, 200, 50):
            for rows in (1, 4, 16):
                asked = request(tokens, 12, rows=rows, sampling=penalised)
                assert_same_up_to_ties(tiny, eager, asked, TOLERANCE["float16"])


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("sampling", [FLAT, DEFAULT_SAMPLING], ids=["flat", "default"])
@pytest.mark.parametrize("rows", [1, 4])
def test_the_same_seed_repeats_itself_whatever_came_between(tiny, sampling, rows):
    asked = request(rows=rows, sampling=sampling)
    expected = answer(tiny, asked)
    answer(tiny, request(20, output_tokens=3, rows=rows, sampling=SamplingParams(temperature=1e6, seed=7)))
    assert answer(tiny, asked) == expected


@pytest.mark.gpu
@on_gpu
def test_draws_of_successive_steps_rows_and_seeds_differ(tiny):
    draws = []
    for seed in range(4):
        asked = request(output_tokens=8, rows=4, sampling=SamplingParams(temperature=1e6, seed=seed))
        draws += [token for row in answer(tiny, asked) for token in row]
    assert len(draws) == 128
    assert len(set(draws)) > 80  # of 258 equally likely ids about 101 are expected; one draw repeated gives a few


@pytest.mark.gpu
@on_gpu
def test_draws_are_as_frequent_as_their_probabilities(tiny):
    warm = SamplingParams(temperature=0.5, top_k=5, repetition_penalty=1.1)
    asked = request()
    seen = torch.zeros(1, tiny.facts().vocabulary, dtype=torch.bool)
    seen[0, list(asked.prompts[0])] = True
    (expected,) = probabilities(tiny.next_token_logits(asked.prompts), seen, warm)
    drawn = [
        answer(tiny, request(output_tokens=1, sampling=SamplingParams(**options(warm), seed=seed)))[0][0]
        for seed in range(1000)
    ]
    counts = torch.bincount(torch.tensor(drawn), minlength=len(expected))
    likely = expected > 0
    assert counts[~likely].sum() == 0
    share = 1000 * expected[likely]
    chi_square = ((counts[likely] - share) ** 2 / share).sum()
    assert chi_square < 25  # four degrees of freedom, p < 0.0001; logits of half precision shift it a little


def options(sampling):
    names = ("temperature", "top_k", "top_p", "repetition_penalty")
    return {name: getattr(sampling, name) for name in names}


@pytest.mark.gpu
@on_gpu
def test_every_step_is_a_replay_of_what_was_captured_at_open(fresh):
    for _ in range(3):
        answer(fresh, request(output_tokens=8))
    evidence = fresh.evidence()
    assert (evidence.graphs_captured, evidence.graphs_replayed) == (2, 24)
    assert evidence.notes == (
        "attention: sdpa",
        "dtype: float16",
        "static cache: 64 positions",
        "passes prepared after opening: 0",
    )


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize(
    ("asked", "more"),
    [
        (request(33), 1),
        (request(20, sampling=FLAT), 2),
        (request(20, rows=4), 2),
        (request(100), 2),
        (request(20, sampling=SamplingParams(temperature=0, seed=3)), 0),
    ],
    ids=["length", "sampling", "batch", "longer than the cache", "seed"],
)
def test_what_was_not_captured_at_open_is_captured_once_and_counted(fresh, asked, more):
    for _ in range(3):
        answer(fresh, asked)
    evidence = fresh.evidence()
    assert evidence.graphs_captured == 2 + more
    assert evidence.graphs_replayed == 24
    assert evidence.notes[-1] == f"passes prepared after opening: {more}"


@pytest.mark.gpu
@on_gpu
def test_a_longer_cache_than_opened_with_gives_the_same_tokens(fresh):
    short = request(20)
    expected = answer(fresh, short)
    with opened(EagerStrategy(), TINY) as eager:
        assert_same_up_to_ties(fresh, eager, request(500, 20), TOLERANCE["float16"])
    assert answer(fresh, short) == expected


@pytest.mark.gpu
@on_gpu
def test_graphs_hold_in_and_outside_of_inference_mode(fresh):
    asked = request(sampling=FLAT)
    with torch.inference_mode():
        expected = answer(fresh, asked)
    assert answer(fresh, asked) == expected
    noise = torch.randn(4, device="cuda", requires_grad=True)  # the device's own generator still works with autograd
    noise.sum().backward()
    torch.cuda.synchronize()


@pytest.mark.gpu
@on_gpu
def test_it_times_every_step_and_knows_its_memory(tiny):
    answer(tiny, request(output_tokens=5))
    assert len(tiny.device_ns()) == 5
    assert all(duration > 0 for duration in tiny.device_ns())
    memory = tiny.memory()
    assert memory.weights < memory.peak_allocated <= memory.peak_reserved


@pytest.mark.gpu
@on_gpu
def test_closing_gives_the_memory_back():
    held = []
    for _ in range(3):
        with opened(CudaGraphStrategy(), TINY, (workload(), workload(rows=4))) as strategy:
            answer(strategy, request())
            answer(strategy, request(100))
        held.append(torch.cuda.memory_allocated())
    assert held[1] == held[2]  # the first leaves the libraries' workspace behind


REFUSED = """
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.opening import opened
from perfsuite.strategies.cuda_graph import CudaGraphStrategy
with opened(CudaGraphStrategy(), ModelSpec(name={name!r}), (Workload(prompt_tokens=20),)):
    pass
"""


@pytest.mark.gpu
@on_gpu
def test_a_model_that_asks_the_device_for_values_is_refused(tmp_path):
    """In a process of its own, as a broken capture may leave torch's random numbers unusable."""
    script = REFUSED.format(name=saved(tmp_path, "opt"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "StrategyUnavailableError: a pass of this model cannot be captured in a CUDA graph" in last
    assert last.endswith("use --perf-strategy eager")


@pytest.fixture
def little_memory():
    """No more than 256 MiB beyond what torch holds already."""
    torch.cuda.empty_cache()
    allowed = torch.cuda.memory_reserved() + 256 * 2**20
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.get_device_properties(0).total_memory)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.gpu
@on_gpu
def test_running_out_of_memory_says_the_sizes_and_the_next_one_runs(little_memory):
    with (
        pytest.raises(DeviceMemoryError, match=r"out of memory preparing .* batch of 512: .*; lower the batch"),
        opened(CudaGraphStrategy(), TINY, (workload(900, 100, rows=512),)),
    ):
        pass
    with opened(CudaGraphStrategy(), TINY, (workload(),)) as strategy:
        assert len(answer(strategy, request())[0]) == 8
