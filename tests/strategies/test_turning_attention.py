"""Attention that turns and keeps what it attends to gives what transformers gives, and leaves the same in the cache."""

import pytest
import torch

from perfsuite.strategies import _kernel_attention
from perfsuite.strategies._fusion import fuse_projections, keep_rotations
from perfsuite.strategies._kernel_attention import plainly_over_cache, use_kernel_attention
from perfsuite.strategies._static import StaticForward, use_static_attention
from perfsuite.strategies._turning_attention import turn_within_attention, turned
from tests.strategies.families import STATIC, small_model
from tests.strategies.rewriting import rewriting

LENGTH = 32
JOINED = {"llama": 2, "qwen2": 2, "mistral": 2, "gpt2": 0, "gemma": 2, "gemma3_text": 2}
"""In how many layers attention turns by itself; GPT-2 knows positions from its embedding."""


def caches(forward):
    return [tensor for layer in forward._layers for tensor in (layer.keys, layer.values)]


@pytest.mark.parametrize("kind", STATIC)
def test_a_model_says_what_it_said_and_keeps_what_it_kept(kind, monkeypatch):
    torch._dynamo.reset()
    monkeypatch.setattr(_kernel_attention, "_fits", lambda query: query.shape[-1] == 8)
    model = small_model(kind)
    use_static_attention(model)
    plain = StaticForward(model, LENGTH)
    ids = torch.randint(3, 250, (2, 21), generator=torch.Generator().manual_seed(0))
    prompts, others = ids[:, :12], ids[:, 12:].unsqueeze(2).unbind(1)
    expected = [plain.prefill(prompts), *(plain.decode(each) for each in others)]
    fuse_projections(model)
    use_kernel_attention(model)
    keep_rotations(model)
    counts = []
    ours = StaticForward(model, LENGTH, rewriting(counts, turn_within_attention))
    got = [ours.prefill(prompts), *(ours.decode(each) for each in others)]
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-3)
    for mine, theirs in zip(caches(ours), caches(plain), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
    assert counts[0] == counts[-1] == JOINED[kind]


def test_what_somebody_else_reads_is_left_as_it_is(monkeypatch):
    """A cache whose turned keys are read once more must still get them as they were."""
    torch._dynamo.reset()
    scale = 0.5

    def run(states, cosines, sines, keys, values, position):
        cosines, sines = cosines.unsqueeze(1), sines.unsqueeze(1)
        query, key = _turned_as_written(states, cosines, sines), _turned_as_written(states + 1, cosines, sines)
        keys.index_copy_(2, position, key)
        values.index_copy_(2, position, states)
        return torch.ops.perfsuite.cache_attention(query, keys, values, position, scale, 0) + key

    counts = []

    def backend(graph, inputs):
        counts.append(turn_within_attention(graph))
        return graph

    def inputs():
        generator = torch.Generator().manual_seed(0)
        drawn = [torch.randn(shape, generator=generator) for shape in ((1, 2, 1, 8), (1, 1, 8), (1, 1, 8))]
        return [*drawn, torch.zeros(1, 2, 4, 8), torch.zeros(1, 2, 4, 8), torch.tensor([2])]

    expected, got = inputs(), inputs()
    wanted = run(*expected)
    torch.testing.assert_close(torch.compile(run, backend=backend, fullgraph=True)(*got), wanted)
    torch.testing.assert_close(got, expected)
    assert counts == [0]


def _turned_as_written(states, cosines, sines):
    """As transformers writes it."""
    first, second = states[..., : states.shape[-1] // 2], states[..., states.shape[-1] // 2 :]
    return (states * cosines) + (torch.cat((-second, first), dim=-1) * sines)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("batch", "heads", "groups", "tokens", "size"),
    [
        *[(1, 4, 4, 20, 16), (2, 4, 2, 33, 32), (3, 8, 2, 5, 64), (1, 32, 8, 400, 128), (1, 4, 1, 600, 256)],
        *[(1, 32, 32, 100, 128), (2, 4, 1, 128, 64), (1, 2, 2, 65, 256), (2, 4, 4, 129, 128)],  # about the longest
    ],
)
def test_the_kernels_give_what_torch_gives(dtype, batch, heads, groups, tokens, size):
    generator = torch.Generator("cuda").manual_seed(0)

    def drawn(*shape):
        return torch.randn(shape, generator=generator, device="cuda").to(dtype)

    def close(got, expected):
        torch.testing.assert_close(got, expected, atol=0.03, rtol=0.03)

    length, scale = 640, size**-0.5
    widths = [heads * size, groups * size, groups * size]
    parts = drawn(batch, tokens, sum(widths)).split(widths, dim=-1)
    query, keys, values = (part.view(batch, tokens, -1, size).transpose(1, 2) for part in parts)
    cosines, sines = drawn(1, 1, tokens, size), drawn(1, 1, tokens, size)
    kept = [torch.zeros(batch, groups, length, size, dtype=dtype, device="cuda") for _ in range(2)]
    attended = torch.ops.perfsuite.turning_prompt_attention(query, keys, values, cosines, sines, *kept, scale)
    angles = cosines.float(), sines.float()
    close(kept[0][:, :, :tokens], turned(keys.float(), *angles).to(dtype))
    assert torch.equal(kept[1][:, :, :tokens], values)
    assert not any(each[:, :, tokens:].any() for each in kept)
    expected = torch.nn.functional.scaled_dot_product_attention(
        turned(query.float(), *angles), turned(keys.float(), *angles), values.float(),
        is_causal=True, scale=scale, enable_gqa=True,
    )  # fmt: skip
    close(attended, expected.transpose(1, 2).to(dtype))
    for position, window in ((tokens, 0), (tokens, 7), (length - 1, 0)):
        fresh = drawn(batch, groups, 1, size), drawn(batch, groups, 1, size)
        one, of_one = drawn(batch, heads, 1, size), (drawn(1, 1, 1, size), drawn(1, 1, 1, size))
        place = torch.tensor([position], device="cuda")
        before = [each.clone() for each in kept]
        got = torch.ops.perfsuite.turning_cache_attention(one, *fresh, *of_one, *kept, place, scale, window)
        exact = [each.float() for each in of_one]
        before[0].index_copy_(2, place, turned(fresh[0].float(), *exact).to(dtype))
        before[1].index_copy_(2, place, fresh[1])
        for mine, theirs in zip(kept, before, strict=True):
            close(mine, theirs)
        states = [each.float() for each in before]
        close(got, plainly_over_cache(turned(one.float(), *exact), *states, place, scale, window).to(dtype))
