"""Draws by our kernels are those of the sampler that all strategies share; on a GPU, or by Triton's interpreter."""

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perfsuite.core.workload import DEFAULT_SAMPLING, SamplingParams
from perfsuite.strategies._kernel_draws import KernelDraws
from perfsuite.strategies._sampler import mark_seen, penalised, probabilities

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
GREEDY = SamplingParams(temperature=0)
ROWS = 64 if INTERPRETED else 4096
"""How many draws are made of one distribution at a time: each is a row of its own."""

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE.type == "cpu" and not INTERPRETED, reason="needs a CUDA device (or Triton and TRITON_INTERPRET=1)"
    ),
]


class Kernels(KernelDraws):
    """By the kernels whatever the parameters, as they have to be able to when too much is tied."""

    def _serves(self, params):
        return True


def drawn_first(logits, prompts, params):
    """Ids [B] after the prompts, as a prefill draws them."""
    draws, ids = Kernels(DEVICE, len(logits)), torch.full((len(logits), 1), -1, device=DEVICE)
    draws.begin(params)
    draws.first(logits.to(DEVICE), prompts.to(DEVICE), params, ids)
    return ids.flatten().cpu()


def no_prompts(rows):
    return torch.zeros((rows, 1), dtype=torch.int64)


def expected(logits, prompts, params):
    seen = torch.zeros(logits.shape, dtype=torch.bool)
    mark_seen(seen, prompts)
    return probabilities(logits.float(), seen, params)


def assert_drawn_from(drawn, distribution):
    """Ids [N] against the probabilities [V] of each; a wrong alarm in one of a million."""
    counts = torch.bincount(drawn, minlength=len(distribution)).double()
    assert counts[distribution == 0].sum() == 0
    expectation = distribution.double() * len(drawn)
    few = expectation < 5
    groups = [(counts[~few][i], expectation[~few][i]) for i in range(int((~few).sum()))]
    if few.any():
        groups.append((counts[few].sum(), expectation[few].sum().clamp(min=0.5)))
    statistic = sum(float((seen - hoped) ** 2 / hoped) for seen, hoped in groups)
    freedom = max(len(groups) - 1, 1)
    assert statistic < freedom + 8 * (2 * freedom) ** 0.5 + 30, (statistic, freedom)


SAMPLINGS = {
    "default": DEFAULT_SAMPLING,
    "plain": SamplingParams(),
    "hot": SamplingParams(temperature=2.0, top_k=40),
    "top-p alone": SamplingParams(top_p=0.6),
    "top-k alone": SamplingParams(top_k=7),
    "more than are picked": SamplingParams(top_k=100, top_p=0.95),
    "more than there are": SamplingParams(top_k=5000, repetition_penalty=1.5),
    "tiny top-p": SamplingParams(top_p=1e-6),
    "penalty": SamplingParams(temperature=0.8, top_k=20, repetition_penalty=3.0),
    "reward": SamplingParams(top_k=30, repetition_penalty=0.5),
}


@pytest.mark.parametrize("vocabulary", [50, 259, 3000])
@pytest.mark.parametrize("name", SAMPLINGS)
def test_draws_are_as_frequent_as_their_probabilities(name, vocabulary):
    generator = torch.Generator().manual_seed(vocabulary)
    logits = (torch.randn(vocabulary, generator=generator) * 3).half().expand(ROWS, vocabulary).contiguous()
    prompts = torch.randint(0, vocabulary, (1, 300), generator=generator).expand(ROWS, 300).contiguous()
    params = SAMPLINGS[name]
    assert_drawn_from(drawn_first(logits, prompts, params), expected(logits[:1], prompts[:1], params)[0])


@st.composite
def questions(draw):
    rows, vocabulary = draw(st.integers(1, 3)), draw(st.sampled_from([2, 7, 64, 65, 130, 1100]))
    number = draw(st.sampled_from([st.integers(-6, 6).map(float), st.floats(-12, 12, width=16)]))
    scale = draw(st.lists(number, min_size=16, max_size=16))
    order = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    logits = torch.tensor(scale)[torch.randint(0, 16, (rows, vocabulary), generator=order)]
    ids = torch.randint(0, vocabulary, (rows, 4), generator=order)
    params = SamplingParams(
        temperature=draw(st.sampled_from([1.0, 0.3, 0.7, 2.0])),
        top_k=draw(st.sampled_from([0, 1, 2, 5, 50, 64, 65])),
        top_p=draw(st.sampled_from([1.0, 0.05, 0.5, 0.9, 0.99])),
        repetition_penalty=draw(st.sampled_from([1.0, 1.1, 2.0, 0.8])),
        seed=draw(st.integers(0, 2**64)),
    )
    return logits, ids, params


@settings(max_examples=40 if INTERPRETED else 200)
@given(questions())
def test_only_tokens_that_the_distribution_holds_are_drawn(question):
    """With ties all over the place, in one stretch of the vocabulary or more than one."""
    logits, ids, params = question
    drawn = drawn_first(logits, ids, params)
    assert (expected(logits, ids, params).gather(1, drawn.unsqueeze(1)) > 0).all()


@pytest.mark.parametrize("vocabulary", [259, 3000])
def test_greedy_takes_the_first_of_the_largest_after_the_penalty(vocabulary):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randint(-4, 5, (5, vocabulary), generator=generator).half()
    prompts = torch.randint(0, vocabulary, (5, 40), generator=generator)
    seen = torch.zeros(logits.shape, dtype=torch.bool)
    mark_seen(seen, prompts)
    for params in (SamplingParams(temperature=0, repetition_penalty=1.3), SamplingParams(top_k=1)):
        scores = penalised(logits, seen, params.repetition_penalty)
        assert drawn_first(logits, prompts, params).tolist() == scores.argmax(dim=-1).tolist()


@pytest.mark.parametrize("params", [SamplingParams(top_k=50, top_p=0.9), SamplingParams(top_p=0.9)])
def test_where_all_are_tied_all_are_drawn(params):
    drawn = drawn_first(torch.zeros(ROWS, 200), no_prompts(ROWS), params)
    assert_drawn_from(drawn, torch.full((200,), 1 / 200))


def test_what_was_drawn_is_seen_from_then_on_and_forgotten_by_the_next_request():
    params = SamplingParams(temperature=0, repetition_penalty=10.0)
    logits = torch.tensor([[5.0, 4.0, 3.0, -1.0], [1.0, 5.0, 4.0, 3.0]], device=DEVICE)
    draws, ids = Kernels(DEVICE, 2), torch.zeros((2, 1), dtype=torch.int64, device=DEVICE)
    for _ in range(2):
        draws.begin(params)
        draws.first(logits, torch.tensor([[3], [0]], device=DEVICE), params, ids)
        answer = [ids.flatten().tolist()]
        for _ in range(2):
            draws.next(logits, ids, params, ids)
            answer.append(ids.flatten().tolist())
        assert answer == [[0, 1], [1, 2], [2, 3]]


def stepwise(seed, steps, rows=8, vocabulary=1000):
    params = SamplingParams(seed=seed)
    draws, ids = Kernels(DEVICE, rows), torch.zeros((rows, 1), dtype=torch.int64, device=DEVICE)
    logits = torch.zeros(rows, vocabulary, device=DEVICE)
    draws.begin(params)
    draws.first(logits, ids.clone(), params, ids)
    answer = [tuple(ids.flatten().tolist())]
    for _ in range(steps):
        draws.next(logits, ids, params, ids)
        answer.append(tuple(ids.flatten().tolist()))
    return answer


def test_one_seed_gives_one_answer_and_steps_rows_and_seeds_differ():
    first, again, other, far = (stepwise(seed, 5) for seed in (1, 1, 2, 1 + 2**32))
    assert first == again
    assert len({first[0], other[0], far[0], *first[1:]}) == 8
    assert all(len(set(rows)) > 4 for rows in first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_precision_and_a_large_vocabulary_will_do(dtype):
    vocabulary = 40_000 if INTERPRETED else 256_000
    logits = torch.full((2, vocabulary), -3.0, dtype=dtype)
    logits[0, 1023], logits[0, vocabulary - 1], logits[1, 1024] = 30.0, 30.0, 30.0
    drawn = {
        tuple(drawn_first(logits, no_prompts(2), SamplingParams(top_k=50, seed=seed)).tolist()) for seed in range(20)
    }
    assert drawn == {(1023, 1024), (vocabulary - 1, 1024)}


@pytest.mark.skipif(DEVICE.type == "cpu", reason="needs a CUDA device")
def test_a_captured_draw_follows_the_parameters_that_a_request_brings():
    logits = torch.randn(2, 3000, device=DEVICE)
    prompts, ids = (
        torch.zeros((2, 3), dtype=torch.int64, device=DEVICE),
        torch.zeros((2, 1), dtype=torch.int64).to(DEVICE),
    )
    draws = Kernels(DEVICE, 2)
    draws.first(logits, prompts, GREEDY, ids)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        draws.first(logits, prompts, GREEDY, ids)
    draws.begin(GREEDY)
    graph.replay()
    assert ids.flatten().tolist() == logits.argmax(dim=-1).tolist()
    seen = set()
    for seed in range(30):
        draws.begin(SamplingParams(temperature=5.0, seed=seed))
        graph.replay()
        torch.cuda.synchronize()
        seen.add(tuple(ids.flatten().tolist()))
    assert len(seen) > 25


@pytest.mark.parametrize(
    ("params", "is_served"),
    [
        (GREEDY, True),
        (DEFAULT_SAMPLING, True),
        (SamplingParams(top_k=1), True),
        (SamplingParams(top_k=64, top_p=0.5), True),
        (SamplingParams(top_k=65), False),
        (SamplingParams(top_p=0.5), False),
    ],
)
def test_what_would_take_the_kernels_long_is_drawn_by_torch(params, is_served):
    draws, ids = KernelDraws(DEVICE, 2), torch.zeros((2, 1), dtype=torch.int64, device=DEVICE)
    assert (draws.kind(params) == ()) == (draws.generator_of(params) is None) == is_served
    logits, prompts = torch.randn(2, 300, device=DEVICE), torch.zeros((2, 3), dtype=torch.int64, device=DEVICE)
    answers = []
    for _ in range(2):
        draws.begin(params)
        draws.first(logits, prompts, params, ids)
        draws.next(logits, ids, params, ids)
        answers.append(ids.flatten().tolist())
    assert answers[0] == answers[1]
