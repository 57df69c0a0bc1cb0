"""Products of one row that norm, gate or add up give what the parts gave, wherever a decode step has them."""

import pytest
import torch
from torch.nn import functional

from perfsuite.models.quantization import quantize
from perfsuite.strategies._fusion import fuse_projections
from perfsuite.strategies._one_row import join_one_row
from perfsuite.strategies._skinny import use_skinny_products
from perfsuite.strategies._static import StaticForward, use_static_attention
from tests.strategies.families import small_model
from tests.strategies.rewriting import rewriting

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
IDS = torch.randint(3, 250, (2, 21), generator=torch.Generator().manual_seed(0))
JOINED = {"llama": 9, "qwen2": 9, "mistral": 9, "gpt2": 0, "gemma": 4, "gemma3_text": 0}
"""Of two layers, with four products each, and the head; Gemma norms and gates otherwise, GPT-2 has biases."""


@pytest.fixture(autouse=True)
def compiled_anew():
    torch._dynamo.reset()


def model_of(kind, *, joins=True):
    model = small_model(kind).bfloat16()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "norm" in name or name.endswith("bias"):  # nothing that could be left out unseen
            parameter.add_(torch.rand(parameter.shape, generator=generator).to(parameter.dtype) / 2)
    use_static_attention(model)
    if joins:
        fuse_projections(model)
        use_skinny_products(model)
    return model


def said_by(model, ids, counts=None):
    """Logits of a prompt and of two steps; what was joined in each pass goes to `counts`."""
    forward = StaticForward(model, 32, *([rewriting(counts, join_one_row)] if counts is not None else []))
    return [forward.prefill(ids), *(forward.decode(IDS[: len(ids), index : index + 1]) for index in range(2))]


@pytest.mark.parametrize("kind", JOINED)
def test_a_model_says_what_it_said(kind):
    counts = []
    ours = said_by(model_of(kind), IDS[:1], counts)
    assert counts == [0, JOINED[kind]]
    for mine, theirs in zip(ours, said_by(model_of(kind, joins=False), IDS[:1]), strict=True):
        assert (mine - theirs).abs().max() <= 0.03 * theirs.abs().max()


def test_several_rows_are_left_as_they_are():
    counts = []
    said_by(model_of("llama"), IDS, counts)
    assert counts == [0, 0]


def test_a_prompt_of_one_token_is_one_row():
    counts = []
    model = model_of("llama")
    (ours, *_), (theirs, *_) = said_by(model, IDS[:1, :1], counts), said_by(model, IDS[:1, :1])
    assert counts[0] == 9
    assert (ours - theirs).abs().max() <= 0.03 * theirs.abs().max()


def test_what_ranks_add_up_in_place_is_no_part_of_a_sum():
    def run(states, weight, bias, other):
        product = torch.ops.perfsuite.skinny_linear(states, weight, bias, False)
        product.mul_(2)
        return other + product

    assert joined_in(run) == 0


def test_what_somebody_else_reads_too_is_computed_by_itself():
    def run(states, weight, bias, other):
        product = torch.ops.perfsuite.skinny_linear(states, weight, bias, False)
        return product + other, product * 2

    assert joined_in(run) == 0


def test_a_bias_keeps_a_residual_out():
    def run(states, weight, bias, other):
        return torch.ops.perfsuite.skinny_linear(states, weight, bias, True) + other

    assert joined_in(run) == 0


def test_only_what_has_the_shape_of_a_product_is_a_residual():
    def run(states, weight, bias, _):
        return torch.ops.perfsuite.skinny_linear(states, weight, bias, False) + 1.0

    assert joined_in(run) == 0


def test_a_residual_is_added_on_either_side():
    for run in (
        lambda states, weight, bias, other: torch.ops.perfsuite.skinny_linear(states, weight, bias, False) + other,
        lambda states, weight, bias, other: other + torch.ops.perfsuite.skinny_linear(states, weight, bias, False),
    ):
        assert joined_in(run) == 1


def joined_in(run):
    """In how many places; what it gives is checked as well."""
    counts = []
    inputs = [torch.randn(shape).bfloat16() for shape in ((1, 1, 8), (6, 8), (6,), (1, 1, 6))]

    def backend(graph, _):
        counts.append(join_one_row(graph))
        return graph

    ours, theirs = torch.compile(run, backend=backend, fullgraph=True)(*inputs), run(*inputs)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, atol=0.02)
    return sum(counts)


def test_quantized_weights_are_left_as_they_are():
    pytest.importorskip("torchao")
    counts = []
    model = small_model("llama").bfloat16()
    quantize(model, "int8")
    use_static_attention(model)
    use_skinny_products(model)
    said_by(model, IDS[:1], counts)
    assert counts == [0, 1]  # its head, which is not quantized


def drawn(dtype, wide, deep):
    generator = torch.Generator("cuda").manual_seed(0)
    shapes = ((1, 1, deep), (wide, deep), (wide,), (deep,))
    return (torch.randn(shape, generator=generator, device="cuda").to(dtype) for shape in shapes)


def exactly(states, weight, offset, norm, is_gated):
    states, weight, offset = states.double(), weight.double(), offset.double()
    if norm is not None:
        states = functional.rms_norm(states, norm.shape, norm.double(), 1e-5)
    product = functional.linear(states, weight)
    if not is_gated:
        return product + offset
    gate, up = product.chunk(2, dim=-1)
    return functional.silu(gate) * up


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("is_gated", [False, True])
@pytest.mark.parametrize("is_normed", [False, True])
@pytest.mark.parametrize("shape", [(64, 256), (62, 1500), (22016, 4096), (64, 11008)])
def test_the_kernel_norms_gates_and_adds(shape, is_normed, is_gated, dtype):
    states, weight, offset, norm = drawn(dtype, *shape)
    weight /= shape[1] ** 0.5
    norm = norm if is_normed else None
    ours = torch.ops.perfsuite.one_row_linear(states, norm, 1e-5, weight, offset, is_gated).double()
    exact = exactly(states, weight, offset, norm, is_gated)
    assert ours.shape == exact.shape
    assert (ours - exact).norm() / exact.norm() < (0.002 if dtype == torch.float16 else 0.01)


@pytest.mark.gpu
@on_gpu
def test_kernels_that_begin_early_see_the_residual_of_two_kernels_before():
    states, *_ = drawn(torch.float16, 1, 512)
    generator = torch.Generator("cuda").manual_seed(1)
    weights = torch.randn((64, 512, 512), generator=generator, device="cuda").half() / 23
    norm = torch.ones(512, device="cuda").half()
    exact = ours = states
    for weight in weights:
        exact = functional.linear(functional.rms_norm(exact, norm.shape, norm, 1e-5), weight) + exact
        torch.cuda.synchronize()
    nothing = torch.zeros(512, device="cuda").half()
    for _ in range(20):
        ours = states
        for weight in weights:
            inner = torch.ops.perfsuite.one_row_linear(ours, norm, 1e-5, weight, nothing, False)
            ours = torch.ops.perfsuite.one_row_linear(inner, None, 0.0, torch.eye(512).cuda().half(), ours[0, 0], False)
        assert (ours - exact).norm() / exact.norm() < 0.05
