"""Logits are compared with those of eager in float32, up to what the dtype's rounding explains."""

import numpy as np
import pytest
import torch

from perfsuite.core.parity import check_parity, compare
from perfsuite.core.rounding import logit_error
from tests.strategies.families import FAMILIES, small_model

REFERENCE = np.random.default_rng(0).normal(0, 2, (3, 100))


def test_equal_logits_are_at_parity_and_so_are_those_shifted_by_a_constant():
    assert check_parity(REFERENCE, REFERENCE, allowed=1e-9) == ()
    assert check_parity(REFERENCE + 5, REFERENCE, allowed=1e-9) == ()


def test_a_larger_difference_is_shown_with_divergence_and_agreement():
    other = REFERENCE.copy()
    other[1, 7] += 20
    (problem,) = check_parity(other, REFERENCE, allowed=0.5)
    assert "differ by up to 19.8 from eager in float32, rounding explains 0.5" in problem.finding
    assert "67% of 3 rows agree" in problem.finding


def test_logits_of_another_shape_are_no_parity():
    assert "(3, 99)" in check_parity(REFERENCE[:, :99], REFERENCE, allowed=1)[0].finding


def test_a_difference_within_the_bound_keeps_the_divergence_within_its_own():
    other = REFERENCE + np.random.default_rng(1).uniform(-0.3, 0.3, REFERENCE.shape)
    found = compare(other, REFERENCE, allowed=0.3)
    assert found.divergence <= found.divergence_allowed


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_bound_holds_for_real_passes_in_half_precision_and_is_not_far_from_them(kind, dtype):
    ids = torch.arange(2 * 20).view(2, 20) % 300
    model = small_model(kind).to(getattr(torch, dtype))
    with torch.inference_mode():
        half = model(ids).logits[:, -1].double().numpy()
        exact = model.float()(ids).logits[:, -1].double().numpy()
    allowed = logit_error(dtype, exact, layers=model.config.num_hidden_layers)
    assert check_parity(half, exact, allowed=allowed) == ()
    assert compare(half, exact, allowed=allowed).largest > allowed / 40


def test_wrong_weights_are_far_beyond_the_bound():
    """One weight matrix of one layer scaled by 10 %, in single precision."""
    ids = torch.arange(20).view(1, 20)
    model = small_model("llama")
    with torch.inference_mode():
        exact = model(ids).logits[:, -1].double().numpy()
        model.model.layers[1].mlp.up_proj.weight *= 1.1
        wrong = model(ids).logits[:, -1].double().numpy()
    assert check_parity(wrong, exact, allowed=logit_error("float32", exact, layers=2))
    assert check_parity(wrong, exact, allowed=logit_error("float16", exact, layers=2))
