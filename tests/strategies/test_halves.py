"""Products computed as two halves give what they gave, wherever a pass calls them."""

import pytest
import torch
from torch.nn import functional

from perfsuite.strategies._fusion import fuse_projections
from perfsuite.strategies._halves import halve_deep_products
from perfsuite.strategies._last_position import compute_last_position_only
from perfsuite.strategies._many_rows import in_halves
from perfsuite.strategies._skinny import use_skinny_products
from perfsuite.strategies._static import StaticForward, use_static_attention
from tests.strategies.families import STATIC, small_model
from tests.strategies.rewriting import rewriting

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("kind", STATIC)
def test_a_model_says_what_it_said(kind, monkeypatch):
    torch._dynamo.reset()
    monkeypatch.setattr("perfsuite.strategies._halves._ALIGNED", 2)
    model = small_model(kind).bfloat16()
    use_static_attention(model)
    fuse_projections(model)
    use_skinny_products(model)
    ids = torch.randint(3, 250, (2, 21), generator=torch.Generator().manual_seed(0))
    plain = StaticForward(model, 32)
    expected = [plain.prefill(ids), plain.decode(ids[:, :1])]
    counts = []
    ours = StaticForward(model, 32, rewriting(counts, compute_last_position_only, halve_deep_products))
    for mine, theirs in zip([ours.prefill(ids), ours.decode(ids[:, :1])], expected, strict=True):
        assert (mine - theirs).abs().max() <= 0.03 * theirs.abs().max()
    assert (counts[1] > 0) == (kind != "gpt2")  # whose products are biased
    assert counts[3] == 0  # a decode step has a row only


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 5, 16, 17, 100, 300])
def test_the_halves_of_a_product_are_the_product(rows, dtype):
    generator = torch.Generator("cuda").manual_seed(0)
    states = torch.randn((1, rows, 1024), generator=generator, device="cuda").to(dtype)
    weight = torch.randn((256, 1024), generator=generator, device="cuda").to(dtype)
    exact = functional.linear(states.double(), weight.double())
    largest = exact.abs().max()
    ours = torch.ops.perfsuite.halved_linear(states, weight)
    assert ours.shape == (2, 1, rows, 256)
    assert (ours.double().sum(0) - exact).abs().max() < 0.01 * largest
    parts = torch.empty((2, rows, 256), dtype=dtype, device="cuda")
    in_halves(states[0], weight, parts)
    assert (parts.double().sum(0) - exact[0]).abs().max() < 0.01 * largest
