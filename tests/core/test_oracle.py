"""The oracle is transformers' own processors in float64, and says where rounding may decide."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from perfsuite.core.oracle import Context, next_token
from perfsuite.core.rounding import Precision
from perfsuite.core.workload import SamplingParams

EXACT = Precision(dtype="float64")


def context(logits, params=None, precision=EXACT, **ids):
    return Context(logits=np.array(logits, dtype=float), params=params or SamplingParams(), precision=precision, **ids)


def log_of(*probabilities):
    return np.log(probabilities)


def processed(logits, ids, params, dtype=torch.float64):
    """Scores [V] after transformers' own processors, in the order in which `generate` has them."""
    scores, ids = torch.tensor([logits], dtype=dtype), torch.tensor([ids])
    if params.repetition_penalty != 1:
        scores = RepetitionPenaltyLogitsProcessor(params.repetition_penalty)(ids, scores)
    scores = TemperatureLogitsWarper(params.temperature)(ids, scores)
    if params.top_k:
        scores = TopKLogitsWarper(params.top_k)(ids, scores)
    return (TopPLogitsWarper(params.top_p)(ids, scores) if params.top_p < 1 else scores)[0]


@st.composite
def questions(draw, huge=1e300):
    vocabulary = draw(st.integers(1, 30))
    number = draw(
        st.sampled_from(
            [
                st.integers(-6, 6).map(float),  # ties, in the k-th place and elsewhere
                st.floats(-12, 12, width=32),
                st.floats(-60, 60, width=16),
                st.one_of(st.just(-np.inf), st.floats(-20, 20, width=16)),
                st.one_of(st.sampled_from([huge, -huge, huge / 2, 0.0, 5e-324]), st.floats(-5, 5)),
            ]
        )
    )
    logits = draw(st.lists(number, min_size=vocabulary, max_size=vocabulary).filter(lambda row: np.isfinite(row).any()))
    ids = draw(st.lists(st.integers(0, vocabulary - 1), min_size=1, max_size=5))
    params = SamplingParams(
        temperature=draw(st.sampled_from([1.0, 0.3, 0.7, 2.0])),
        top_k=draw(st.sampled_from([0, 2, 5, 50])),
        top_p=draw(st.one_of(st.sampled_from([1.0, 0.05, 0.5, 0.9, 0.99]), st.floats(0.001, 1))),
        repetition_penalty=draw(st.sampled_from([1.0, 1.1, 2.0, 0.8])),
    )
    return logits, tuple(ids), params


@settings(max_examples=600)
@given(questions())
def test_the_distribution_is_the_one_of_transformers(question):
    logits, ids, params = question
    ours = next_token(context(logits, params, prompt=ids))
    theirs = processed(logits, ids, params)
    kept = (theirs > -torch.inf).numpy() & np.isfinite(ours.scores)
    assert not (kept & ~ours.allowed).any()
    assert not (ours.required & ~kept).any()
    assert not (ours.kept & ~ours.allowed).any()
    if not ours.optional.any():
        np.testing.assert_allclose(ours.probabilities, theirs.softmax(-1).numpy(), rtol=1e-9, atol=1e-12)


@settings(max_examples=300)
@given(questions(huge=1e30), st.sampled_from(["float32", "float16", "bfloat16"]))
def test_what_processors_keep_in_any_dtype_lies_between_required_and_allowed(question, dtype):
    logits, ids, params = question
    rounded = torch.tensor(logits, dtype=getattr(torch, dtype))
    finite = rounded[rounded.isfinite()]
    assume(len(finite) and not (rounded == torch.inf).any())
    assume(dtype != "float16" or finite.abs().max() < 1e4)  # or the dtype overflows, which is no rounding
    theirs = processed(rounded.tolist(), ids, params, rounded.dtype)
    ours = next_token(context(rounded.tolist(), params, Precision(dtype=dtype), prompt=ids))
    drawable = (theirs.float().softmax(-1) > 0).numpy()
    assert not (drawable & ~ours.allowed).any()
    assert not (ours.required & ~(theirs > -torch.inf).numpy()).any()


def test_the_token_that_crosses_top_p_belongs():
    found = next_token(context(log_of(0.5, 0.3, 0.15, 0.05), SamplingParams(top_p=0.6)))
    assert found.required.tolist() == found.allowed.tolist() == [True, True, False, False]
    np.testing.assert_allclose(found.probabilities, [0.625, 0.375, 0, 0])


def test_a_boundary_that_rounding_decides_is_left_open():
    """Exactly 0.8 lies before the third token: float64 rounds it to either side, and so may everybody."""
    found = next_token(context(log_of(0.5, 0.3, 0.15, 0.05), SamplingParams(top_p=0.8)))
    assert found.required.tolist() == [True, True, False, False]
    assert found.allowed.tolist() == [True, True, True, False]


@pytest.mark.parametrize("params", [SamplingParams(top_k=2), SamplingParams(top_p=0.6)], ids=["top-k", "top-p"])
def test_of_tokens_tied_at_the_boundary_any_may_stay(params):
    found = next_token(context(log_of(0.4, 0.25, 0.25, 0.1), params))
    assert found.required.tolist() == [True, False, False, False]
    assert found.optional.tolist() == [False, True, True, False]
    assert found.kept.tolist() == [True, True, True, False]


def test_what_half_precision_cannot_tell_apart_counts_as_tied():
    logits = [8.0, 4.001, 4.0, 1.0]
    narrow, wide = (
        next_token(context(logits, SamplingParams(top_k=2), Precision(dtype=d))) for d in ("float32", "float16")
    )
    assert narrow.required.tolist() == narrow.allowed.tolist() == [True, True, False, False]
    assert wide.optional.tolist() == [False, True, True, False]


def test_an_error_of_the_logits_grows_with_a_low_temperature():
    params = SamplingParams(temperature=0.5, top_k=1)
    sampled = SamplingParams(temperature=0.5, top_k=2)
    found = next_token(context([3.0, 2.0, 1.9], sampled, Precision(dtype="float32", logit_error=0.06)))
    assert found.errors.max() == pytest.approx(0.12, rel=1e-3)
    assert found.optional.tolist() == [False, True, True]
    assert next_token(context([3.0, 2.0, 1.9], params)).required.tolist() == [True, False, False]


@pytest.mark.parametrize("params", [SamplingParams(temperature=0), SamplingParams(top_k=1)])
def test_greedy_is_the_largest_score_after_the_penalty(params):
    penalty = SamplingParams(temperature=params.temperature, top_k=params.top_k, repetition_penalty=2.0)
    assert next_token(context([3.0, 2.0], penalty, prompt=(0,))).probabilities.tolist() == [0, 1]


def test_of_two_equal_largest_logits_greedy_may_take_either():
    found = next_token(context([1.0, 2.0, 2.0], SamplingParams(temperature=0)))
    assert found.allowed.tolist() == [False, True, True]
    assert not found.required.any()


def test_the_penalty_falls_on_prompt_and_generated_ids_once_each():
    params = SamplingParams(repetition_penalty=2.0)
    found = next_token(context([4.0, -1.0, 3.0, 1.0], params, prompt=(0, 0), generated=(1,), others=((2,),)))
    assert found.scores.tolist() == [2.0, -2.0, 3.0, 1.0]


def test_ids_beyond_the_logits_are_not_penalised():
    found = next_token(context([1.0, 2.0], SamplingParams(repetition_penalty=2.0), prompt=(2, 99)))
    assert found.scores.tolist() == [1.0, 2.0]


def test_an_impossible_token_is_never_allowed_however_large_top_k_is():
    found = next_token(context([0.0, -np.inf, 1.0], SamplingParams(top_k=50)))
    assert found.allowed.tolist() == found.required.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("logits", "finding"),
    [
        ([0.0, np.nan], "the logit of token 1 is nan"),
        ([np.inf, 0.0], "the logit of token 0 is inf"),
        ([-np.inf, -np.inf], "no logit is finite"),
    ],
)
def test_logits_that_no_probability_can_come_from_are_refused(logits, finding):
    with pytest.raises(ValueError, match=finding):
        next_token(context(logits))
