"""Drawing a token follows the definitions of transformers, checked against its own processors."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from perfsuite.core.workload import DEFAULT_SAMPLING, SamplingParams
from perfsuite.strategies._sampler import mark_seen, probabilities, sample

GREEDY = SamplingParams(temperature=0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def logits_of(*probabilities_of_row):
    return torch.tensor([probabilities_of_row]).log()


def seen_of(ids, vocabulary):
    seen = torch.zeros(len(ids), vocabulary, dtype=torch.bool)
    mark_seen(seen, ids)
    return seen


def reference(ids, logits, params):
    """Scores after transformers' own processors, before top-p and after it."""
    before = LogitsProcessorList()
    if params.repetition_penalty != 1:
        before.append(RepetitionPenaltyLogitsProcessor(params.repetition_penalty))
    before.append(TemperatureLogitsWarper(params.temperature))
    if params.top_k:
        before.append(TopKLogitsWarper(params.top_k))
    scores = before(ids, logits.float())
    return scores, TopPLogitsWarper(params.top_p)(ids, scores) if params.top_p < 1 else scores


def with_ties(scores, kept):
    """Which of several equally likely tokens top-p keeps is up to transformers' sort; here all of them stay."""
    weights = scores.softmax(dim=-1)
    least = weights.masked_fill(kept.isinf(), torch.inf).amin(dim=-1, keepdim=True)
    return scores.masked_fill(weights < least, -torch.inf)


def crosses_clearly(scores, top_p):
    """Whether no cumulated probability is so close to top-p that rounding decides."""
    cumulated = scores.double().softmax(dim=-1).sort(dim=-1, descending=True).values.cumsum(dim=-1)
    return bool(((cumulated - top_p).abs() > 1e-5).all())


@st.composite
def questions(draw):
    rows, vocabulary = draw(st.integers(1, 3)), draw(st.integers(2, 30))
    # a coarse grid makes ties, in the k-th place and elsewhere
    number = draw(st.sampled_from([st.integers(-6, 6).map(float), st.floats(-12, 12, width=32)]))
    logits = draw(st.lists(number, min_size=rows * vocabulary, max_size=rows * vocabulary))
    ids = draw(st.lists(st.integers(0, vocabulary - 1), min_size=rows * 4, max_size=rows * 4))
    params = SamplingParams(
        temperature=draw(st.sampled_from([1.0, 0.3, 0.7, 2.0])),
        top_k=draw(st.sampled_from([0, 2, 5, 50])),
        top_p=draw(st.sampled_from([1.0, 0.05, 0.5, 0.9, 0.99])),
        repetition_penalty=draw(st.sampled_from([1.0, 1.1, 2.0, 0.8])),
    )
    return torch.tensor(logits).view(rows, vocabulary), torch.tensor(ids).view(rows, 4), params


@settings(max_examples=300)
@given(questions())
def test_the_distribution_is_the_one_of_transformers(question):
    logits, ids, params = question
    scores, kept = reference(ids, logits, params)
    assume(params.top_p == 1 or crosses_clearly(scores, params.top_p))
    ours = probabilities(logits, seen_of(ids, logits.shape[1]), params)
    torch.testing.assert_close(ours, with_ties(scores, kept).softmax(dim=-1), rtol=1e-5, atol=1e-7)


@settings(max_examples=50)
@given(questions(), st.integers(0, 1000))
def test_only_tokens_that_the_distribution_holds_are_drawn(question, seed):
    logits, ids, params = question
    seen = seen_of(ids, logits.shape[1])
    drawn = sample(logits, seen, params, seeded(seed))
    assert drawn.dtype == torch.int64
    assert drawn.shape == (len(logits),)
    assert (probabilities(logits, seen, params).gather(1, drawn.unsqueeze(1)) > 0).all()


@settings(max_examples=50)
@given(questions())
def test_the_logits_are_left_as_they_were(question):
    logits, ids, params = question
    before = logits.clone()
    sample(logits, seen_of(ids, logits.shape[1]), params, seeded())
    assert torch.equal(logits, before)


def test_draws_are_as_frequent_as_their_probabilities():
    expected = torch.tensor([0.5, 0.3, 0.15, 0.05])
    drawn = sample(logits_of(*expected).expand(40_000, 4), None, SamplingParams(), seeded(3))
    counts = torch.bincount(drawn, minlength=4)
    chi_square = ((counts - 40_000 * expected) ** 2 / (40_000 * expected)).sum()
    assert chi_square < 16.3  # three degrees of freedom, p = 0.001


def test_rows_of_a_batch_are_drawn_independently():
    drawn = sample(torch.zeros(64, 1000), None, SamplingParams(), seeded())
    assert len(set(drawn.tolist())) > 50


def test_one_seed_gives_one_draw_and_another_seed_another():
    logits = torch.zeros(8, 1000)
    first, again, other = (sample(logits, None, SamplingParams(), seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_token_that_crosses_top_p_belongs():
    ours = probabilities(logits_of(0.5, 0.3, 0.15, 0.05), None, SamplingParams(top_p=0.6))
    torch.testing.assert_close(ours, torch.tensor([[0.625, 0.375, 0.0, 0.0]]))


def test_a_tiny_top_p_keeps_the_best_token():
    assert probabilities(logits_of(0.4, 0.6), None, SamplingParams(top_p=1e-9)).tolist() == [[0.0, 1.0]]


def test_every_token_tied_with_the_kth_stays():
    ours = probabilities(torch.tensor([[2.0, 1.0, 1.0, 1.0, 0.0]]), None, SamplingParams(top_k=2))
    assert (ours > 0).tolist() == [[True, True, True, True, False]]


def test_top_k_beyond_the_vocabulary_keeps_all():
    assert (probabilities(torch.zeros(1, 5), None, SamplingParams(top_k=50)) == 0.2).all()


@pytest.mark.parametrize("params", [GREEDY, SamplingParams(top_k=1)], ids=["temperature 0", "top-k 1"])
def test_greedy_takes_the_largest_logit(params):
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, -1.0]])
    assert sample(logits, None, params, seeded()).tolist() == [1, 0]
    assert probabilities(logits, None, params).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_greedy_looks_at_the_logits_after_the_penalty():
    logits, seen = torch.tensor([[3.0, 2.0], [-1.0, -1.5]]), seen_of(torch.tensor([[0], [0]]), 2)
    params = SamplingParams(temperature=0, repetition_penalty=2.0)
    assert sample(logits, seen, params, seeded()).tolist() == [1, 1]  # 1.5 < 2 and -2 < -1.5


def test_half_precision_logits_are_worked_on_in_single_precision():
    logits = torch.randn(2, 100, generator=seeded()).half()
    ours = probabilities(logits, None, DEFAULT_SAMPLING)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, probabilities(logits.float(), None, DEFAULT_SAMPLING))


def test_seen_ids_add_up_row_by_row():
    seen = seen_of(torch.tensor([[0, 0], [1, 2]]), 4)
    mark_seen(seen, torch.tensor([[3], [1]]))
    assert seen.tolist() == [[True, False, False, True], [False, True, True, False]]
