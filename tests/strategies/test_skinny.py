"""Skinny products give what torch's own products give, in the order in which a model uses them."""

import pytest
import torch
from torch.nn import Linear, functional

from perfsuite.strategies._fusion import fuse_projections
from perfsuite.strategies._kernel_attention import ATTENTION, use_kernel_attention
from perfsuite.strategies._skinny import SkinnyLinear, use_skinny_products
from perfsuite.strategies._static import StaticForward, use_static_attention
from tests.strategies.families import STATIC, small_model

IDS = torch.randint(3, 250, (2, 12), generator=torch.Generator().manual_seed(0))
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def half(kind):
    return small_model(kind).bfloat16()


@pytest.mark.parametrize("kind", STATIC)
def test_a_model_of_skinny_products_says_what_it_said(kind):
    model = half(kind)
    with torch.no_grad():
        before = model(IDS).logits
        use_skinny_products(model)
        assert (model(IDS).logits - before).abs().max() <= 0.02 * before.abs().max()


def test_every_layer_is_replaced_joined_ones_too():
    model = half("llama")
    fuse_projections(model)
    assert use_skinny_products(model) == 9
    first = model.model.layers[0]
    assert isinstance(first.self_attn.q_proj.joined, SkinnyLinear)
    assert isinstance(model.lm_head, SkinnyLinear)


def test_a_model_of_single_precision_is_left_as_it_is():
    assert use_skinny_products(small_model("llama")) == 0


def test_a_bias_is_added():
    linear = Linear(8, 4).bfloat16()
    states = torch.randn(2, 3, 8).bfloat16()
    assert torch.allclose(SkinnyLinear(linear)(states), linear(states), atol=0.05)


def test_on_a_cpu_a_model_attends_as_before():
    model = small_model("mistral")
    use_static_attention(model)
    static = StaticForward(model, 32)
    expected = [static.prefill(IDS), static.decode(IDS[:, :1])]
    use_kernel_attention(model)
    assert model.config._attn_implementation == ATTENTION
    cached = StaticForward(model, 32)
    for ours, theirs in zip([cached.prefill(IDS), cached.decode(IDS[:, :1])], expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 64, 256), (1, 63, 1500), (1, 512, 11008), (5, 64, 512), (16, 96, 2048)])
def test_the_kernels_multiply(shape, dtype):
    from perfsuite.strategies import _triton_products as kernels

    many, wide, deep = shape
    generator = torch.Generator(device="cuda").manual_seed(0)
    drawn = torch.randn(many * deep + wide * deep + wide, generator=generator, device="cuda").to(dtype)
    rows, weight, bias = drawn.split([many * deep, wide * deep, wide])
    rows, weight = rows.view(many, deep), weight.view(wide, deep)
    assert kernels.fits(rows, weight)
    product = kernels.product(rows, weight, bias).double()
    exact = functional.linear(rows.double(), weight.double(), bias.double())
    assert (product - exact).norm() / exact.norm() < (0.001 if dtype == torch.float16 else 0.005)


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("window", [0, 40])
@pytest.mark.parametrize("position", [0, 1, 127, 128, 250, 447])
@pytest.mark.parametrize("shape", [(1, 4, 4, 128), (2, 8, 2, 64), (3, 4, 1, 16)])
def test_the_kernels_attend_to_what_the_cache_holds(shape, position, window):
    from perfsuite.strategies import _triton_attention as kernels

    batch, heads, groups, size = shape
    generator = torch.Generator(device="cuda").manual_seed(0)
    query = torch.randn((batch, heads, 1, size), generator=generator, device="cuda").half()
    keys, values = torch.randn((2, batch, groups, 448, size), generator=generator, device="cuda").half()
    places = torch.arange(448, device="cuda")
    seen = (places <= position) & (places > position - window if window else True)
    exact = functional.scaled_dot_product_attention(
        query.double(), keys.double(), values.double(), attn_mask=seen[None, None, None], enable_gqa=True
    )
    keys[:, :, ~seen] = torch.nan  # what is not seen must not matter
    at = torch.tensor([position], device="cuda")
    ours = kernels.attend(query, keys, values, at, size**-0.5, window).double()
    assert (ours - exact).norm() / exact.norm() < 0.001


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("length", [40, 2048, 4096])
def test_the_last_block_of_a_head_puts_its_stretches_together_replay_by_replay(length):
    from perfsuite.strategies import _triton_attention as kernels

    generator = torch.Generator(device="cuda").manual_seed(0)
    query = torch.randn((1, 32, 1, 64), generator=generator, device="cuda").half()
    keys, values = torch.randn((2, 1, 32, length, 64), generator=generator, device="cuda").half()
    at = torch.tensor([length - 1], device="cuda")
    exact = functional.scaled_dot_product_attention(query.double(), keys.double(), values.double())
    kernels.attend(query[:, :16], keys[:, :16], values[:, :16], at, 0.125, 0)  # compiled
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):  # as the first with so many heads it has counters of its own
        ours = [kernels.attend(query, keys, values, at, 0.125, 0) for _ in range(4)]
    firsts = None
    for _ in range(200):
        graph.replay()
        firsts = ours[0].clone() if firsts is None else firsts
        assert all(torch.equal(each, firsts) for each in ours)
    assert (firsts.double() - exact).norm() / exact.norm() < 0.002


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("length", [2, 16, 17, 100, 300, 512])
@pytest.mark.parametrize("shape", [(1, 4, 4, 128), (2, 8, 2, 64), (3, 4, 1, 16), (1, 2, 2, 256)])
def test_the_kernel_attends_causally_to_a_prompt(shape, length, dtype):
    from perfsuite.strategies import _triton_causal as kernel

    batch, heads, groups, size = shape
    generator = torch.Generator(device="cuda").manual_seed(0)
    joined = torch.randn((batch, length, heads + 2 * groups, size), generator=generator, device="cuda").to(dtype)
    query, keys, values = (part.transpose(1, 2) for part in joined.split([heads, groups, groups], dim=2))
    assert kernel.fits(query, keys, values)
    ours = kernel.attend(query, keys, values, size**-0.5).double()
    exact = functional.scaled_dot_product_attention(
        query.double(), keys.double(), values.double(), is_causal=True, enable_gqa=True
    ).transpose(1, 2)
    assert (ours - exact).norm() / exact.norm() < (0.001 if dtype == torch.float16 else 0.008)


@pytest.mark.gpu
@on_gpu
def test_a_prompt_too_long_for_the_kernel_is_attended_to_by_torch():
    from perfsuite.strategies._kernel_attention import _over_prompt

    query, keys, values = torch.randn((3, 1, 2, 600, 64), device="cuda").half()
    exact = functional.scaled_dot_product_attention(query, keys, values, is_causal=True).transpose(1, 2)
    assert torch.allclose(_over_prompt(query, keys, values, 64**-0.5), exact, atol=0.01)


@pytest.mark.gpu
@on_gpu
def test_kernels_that_begin_early_see_what_the_ones_before_wrote():
    from perfsuite.strategies import _triton_products as kernels

    generator = torch.Generator(device="cuda").manual_seed(0)
    weights = [torch.randn((512, 512), generator=generator, device="cuda").half() / 23 for _ in range(64)]
    nothing = torch.zeros(512, device="cuda").half()
    first = torch.randn((1, 512), generator=generator, device="cuda").half()
    for rows in (first, first.repeat(4, 1)):
        exact, ours = rows, rows
        for weight in weights:
            exact = functional.linear(exact, weight)
            torch.cuda.synchronize()
        for _ in range(20):
            ours = rows
            for weight in weights:
                ours = kernels.product(ours, weight, nothing)
            assert (ours - exact).norm() / exact.norm() < 0.05
