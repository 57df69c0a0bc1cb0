"""`assert_valid_sampler` accepts samplers that are right and refuses each that is wrong, with the evidence."""

import sys

import pytest
import torch
from hypothesis import given, settings

from perfsuite.core.errors import PerfsuiteError
from perfsuite.core.workload import SamplingParams
from perfsuite.testing import InvalidSamplerError, assert_valid_sampler, logits, sampling_params
from tests.samplers import BROKEN, CORRECT, perfsuites_own

SEEDS = range(2)
"""docs/benchmarks/sampling.py counts over hundreds of them."""


@pytest.mark.parametrize("make", CORRECT.values(), ids=CORRECT)
def test_a_correct_sampler_is_accepted(make):
    for seed in range(3):
        assert_valid_sampler(make(), seed=seed)


@pytest.mark.parametrize("make", BROKEN.values(), ids=BROKEN)
def test_a_broken_sampler_is_refused(make):
    for seed in SEEDS:
        with pytest.raises(InvalidSamplerError):
            assert_valid_sampler(make(), seed=seed)


@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        ("temperature ignored", "effect of the parameters: temperature is ignored: that explains"),
        ("top-p one token too many", "support: token"),
        ("top-k one too few", "top-k keeps one token too few"),
        ("penalty on the prompt only", "repetition penalty: the penalty falls on the prompt alone"),
        ("penalty on another row's ids", "the penalty falls on another row's ids"),
        ("replayed random numbers", "randomness: draws of successive calls are not independent: 192 of 192 pairs"),
        ("generator ignored", "two generators with the same seed gave different tokens"),
        ("the seeds' sampler", "all parameters but the temperature are ignored"),
    ],
)
def test_the_text_says_which_property_broke_and_how(name, evidence):
    with pytest.raises(InvalidSamplerError) as caught:
        assert_valid_sampler(BROKEN[name]())
    assert evidence in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "evidence"),
    [
        (lambda logits: logits.argmax(dim=-1, keepdim=True), "returned torch.int64 [192, 1]; it must be whole numbers"),
        (lambda logits: logits[:, 0], "returned torch.float32 [192]"),
        (lambda logits: [0] * len(logits), "returned list"),
        (lambda logits: torch.full((len(logits),), 64), "token id 64 is outside the vocabulary of 64"),
        (lambda logits: 1 / 0, "the sampler raised ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_answer_is_refused_with_what_it_was(answer, evidence):
    with pytest.raises(InvalidSamplerError, match="answer: ") as caught:
        assert_valid_sampler(lambda logits, *_: answer(logits))
    assert evidence in str(caught.value)


def test_a_refusal_is_an_assertion_and_one_of_perfsuites_errors():
    assert issubclass(InvalidSamplerError, AssertionError)
    assert issubclass(InvalidSamplerError, PerfsuiteError)


@settings(max_examples=50)
@given(logits(), sampling_params())
def test_the_strategies_draw_what_a_sampler_may_meet(rows, params):
    assert isinstance(params, SamplingParams)
    assert rows.dtype == torch.float32
    assert rows.isfinite().any(dim=1).all()
    assert not rows.isnan().any()
    assert not (rows == torch.inf).any()
    ids = torch.zeros(len(rows), 1, dtype=torch.int64)
    drawn = perfsuites_own(rows, ids, params, torch.Generator())
    assert drawn.shape == (len(rows),)


def test_without_hypothesis_the_strategies_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ImportError, match="pip install 'perfsuite\\[test\\]'"):
        sampling_params()
