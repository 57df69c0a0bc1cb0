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
JOINED = {
    "llama": (5, 2, 4),
    "qwen2": (5, 2, 4),
    "gpt2": (0, 0, 0),
    "gemma": (0, 0, 4),
    "gemma3_text": (0, 0, 0),
}
"""Of two layers, with four products each, and the head: those that norm, gate and add up. Gemma norms and gates
otherwise, GPT-2's products have biases."""
NOTHING = (0, 0, 0)


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


def joins(graph):
    """How many products of one row norm, gate and add up after the rewrite."""
    count = join_one_row(graph)
    nodes = [node for node in graph.graph.nodes if node.target is torch.ops.perfsuite.one_row_linear.default]
    assert len(nodes) == count
    asked = [
        (norm is not None, is_gated, offset.op != "placeholder") for _, norm, _, _, offset, is_gated in args(nodes)
    ]
    return tuple(map(sum, zip(*asked, strict=True))) or NOTHING


def args(nodes):
    return [node.args for node in nodes]


def said_by(model, ids, counts=None):
    """Logits of a prompt and of two steps; what was joined in each pass goes to `counts`."""
    forward = StaticForward(model, 32, *([rewriting(counts, joins)] if counts is not None else []))
    return [
        forward.prefill(ids),
        *(forward.decode(IDS[: len(ids), index : index + 1]) for index in range(2)),
    ]


@pytest.mark.parametrize("kind", JOINED)
def test_a_model_says_what_it_said(kind):
    counts = []
    ours = said_by(model_of(kind), IDS[:1], counts)
    assert counts == [NOTHING, JOINED[kind]]
    for mine, theirs in zip(ours, said_by(model_of(kind, joins=False), IDS[:1]), strict=True):
        assert (mine - theirs).abs().max() <= 0.03 * theirs.abs().max()


def test_several_rows_are_left_as_they_are():
    counts = []
    said_by(model_of("llama"), IDS, counts)
    assert counts == [NOTHING, NOTHING]


def test_a_prompt_of_one_token_is_one_row():
    counts = []
    model = model_of("llama")
    (ours, *_), (theirs, *_) = said_by(model, IDS[:1, :1], counts), said_by(model, IDS[:1, :1])
    assert counts[0] == JOINED["llama"]
    assert (ours - theirs).abs().max() <= 0.03 * theirs.abs().max()


def product_of(states, weight, is_biased=False):
    bias = weight[:, 0].contiguous() if is_biased else torch.zeros_like(weight[:, 0])
    return torch.ops.perfsuite.skinny_linear(states, weight, bias, is_biased)


def normed(states, norm, *, epsilon=1e-5, dim=-1, power=2):
    """As transformers norms."""
    wide = states.to(torch.float32)
    variance = wide.pow(power).mean(dim, keepdim=True)
    return norm * (wide * torch.rsqrt(variance + epsilon)).to(states.dtype)


def written(states, norm, weight, _):
    product = product_of(normed(states, norm), weight)
    states.add_(1)
    return product


def written_after_the_norm(states, norm, weight, _):
    row = normed(states, norm)
    states += 1
    return product_of(row, weight)


def written_before_the_sum(states, _, weight, other):
    product = product_of(states, weight)
    states.add_(1)
    return product + other


def added_up_in_place(_, __, weight, other):
    product = product_of(other[..., :1].expand(1, 1, 8), weight)
    product.mul_(2)  # as ranks add up
    return other + product


JOINABLE = {
    "a sum": lambda states, _, weight, other: product_of(states, weight) + other,
    "a sum, the other way round": lambda states, _, weight, other: other + product_of(states, weight),
    "a residual of every other number": lambda s, _, w, o: product_of(s, w) + torch.cat((o, o), -1)[..., ::2],
    "a norm": lambda states, norm, weight, _: product_of(normed(states, norm), weight),
    "a norm of a biased product": lambda states, norm, weight, _: product_of(normed(states, norm), weight, True),
    "a norm that others read too": lambda s, n, w, _: (product_of(normed(s, n), w), normed(s, n) + 1),
    "what is written afterwards": written,
}
NOT_JOINABLE = {
    "a product that others read": lambda s, _, w, o: ((p := product_of(s, w)) + o, p * 2),
    "a sum of a biased product": lambda states, _, weight, other: product_of(states, weight, True) + other,
    "a number for all": lambda states, _, weight, __: product_of(states, weight) + 1.0,
    "a residual of another shape": lambda states, _, weight, other: product_of(states, weight) + other[0, 0],
    "a residual of another type": lambda states, _, weight, other: product_of(states, weight) + other.float(),
    "another power": lambda s, n, w, _: product_of(normed(s, n, power=4), w),
    "a mean of other numbers": lambda s, n, w, _: product_of(normed(s, n, dim=-2), w),
    "a norm of another type": lambda s, n, w, _: product_of(normed(s, n.float()).to(s.dtype), w),
    "a norm by one number": lambda states, norm, weight, _: product_of(normed(states, norm[:1]), weight),
    "an epsilon on the device": lambda s, n, w, _: product_of(normed(s, n, epsilon=n[0].float().abs()), w),
    "a row written after its norm": written_after_the_norm,
    "a row written before the sum": written_before_the_sum,
    "a product written before the sum": added_up_in_place,
}


@pytest.mark.parametrize(
    ("name", "expected"), [*((name, 1) for name in JOINABLE), *((name, 0) for name in NOT_JOINABLE)]
)
def test_a_pass_gives_what_it_gave(name, expected):
    run, counts = (JOINABLE | NOT_JOINABLE)[name], []
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator).bfloat16() for shape in ((1, 1, 8), (8,), (6, 8), (1, 1, 6))]

    def backend(graph, _):
        counts.append(join_one_row(graph))
        return graph

    theirs = run(*(each.clone() for each in inputs))
    ours = torch.compile(run, backend=backend, fullgraph=True)(*inputs)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, atol=0.05, rtol=0.02)
    assert sum(counts) == expected


def test_quantized_weights_are_left_as_they_are():
    pytest.importorskip("torchao")
    counts = []
    model = small_model("llama").bfloat16()
    quantize(model, "int8")
    use_static_attention(model)
    use_skinny_products(model)
    said_by(model, IDS[:1], counts)
    assert counts == [NOTHING, (1, 0, 0)]  # its head, which is not quantized


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
def test_a_residual_may_lie_apart():
    states, weight, _, __ = drawn(torch.float16, 64, 256)
    apart = torch.randn(128, device="cuda").half()[::2]
    ours = torch.ops.perfsuite.one_row_linear(states, None, 0.0, weight, apart, False).double()
    exact = exactly(states, weight, apart, None, False)
    assert (ours - exact).norm() / exact.norm() < 0.002


@pytest.mark.gpu
@on_gpu
def test_kernels_that_begin_early_see_the_residual_of_two_kernels_before():
    """In a graph: launched from the host, no kernel would be there before the one before has ended."""
    states, *_ = drawn(torch.float16, 1, 512)
    generator = torch.Generator("cuda").manual_seed(1)
    weights = torch.randn((64, 512, 512), generator=generator, device="cuda").half() / 23
    norm = torch.ones(512, device="cuda").half()
    nothing, same = torch.zeros(512, device="cuda").half(), torch.eye(512, device="cuda").half()
    exact = states
    for weight in weights:
        exact = functional.linear(functional.rms_norm(exact, norm.shape, norm, 1e-5), weight) + exact
        torch.cuda.synchronize()

    def run():
        ours = states
        for weight in weights:
            inner = torch.ops.perfsuite.one_row_linear(ours, norm, 1e-5, weight, nothing, False)
            ours = torch.ops.perfsuite.one_row_linear(inner, None, 0.0, same, ours.view(-1), False)
        return ours

    run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        ours = run()
    for _ in range(20):
        ours.zero_()
        graph.replay()
        assert (ours - exact).norm() / exact.norm() < 0.05
