"""Wider and fewer kernels compute what the model computed, and what does not fit is left as it is."""

import copy
import weakref

import pytest
import torch
from torch.nn import Linear, RMSNorm

from perfsuite.strategies import _fusion
from perfsuite.strategies._fusion import fuse_norms, fuse_projections, fuse_rotations, rotated
from tests.strategies.families import STATIC, small_model

IDS = torch.randint(3, 250, (2, 12), generator=torch.Generator().manual_seed(0))
FUSED = {  # projections, norms and rotations of two layers
    "llama": (4, 5, 2),
    "qwen2": (4, 5, 2),
    "mistral": (4, 5, 2),
    "gpt2": (0, 0, 0),
    "gemma": (4, 0, 2),  # its norms multiply by one more than their weight
    "gemma3_text": (4, 0, 2),
}


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


@pytest.mark.parametrize("kind", STATIC)
def test_a_fused_model_says_what_the_model_said(kind):
    model = small_model(kind)
    before, parameters = logits(model), sum(each.numel() for each in model.parameters())
    fused = (fuse_projections(model), fuse_norms(model), fuse_rotations(model))
    assert fused == FUSED[kind]
    assert (logits(model) - before).abs().max() < 1e-4
    assert sum(each.numel() for each in model.parameters()) == parameters


def test_biases_are_joined_with_their_weights():
    model = small_model("qwen2")
    attention = model.model.layers[0].self_attn
    with torch.no_grad():
        attention.k_proj.bias.fill_(0.5)
    before = logits(model)
    fuse_projections(model)
    assert attention.q_proj.joined.bias.shape == (64,)
    assert (logits(model) - before).abs().max() < 1e-4


def test_projections_of_different_kinds_stay_apart():
    model = small_model("llama")
    for layer in model.model.layers:
        layer.self_attn.k_proj = Linear(32, 16, bias=True)
        layer.mlp.up_proj = layer.mlp.up_proj.double()
    assert fuse_projections(model) == 0


def test_no_projection_is_kept_alive_by_the_last_one_asked_for():
    model = small_model("llama")
    fuse_projections(model)
    logits(model)
    assert model.model.layers[0].self_attn.q_proj.others == []


def test_what_was_joined_is_gone_before_the_next_is(monkeypatch):
    model = small_model("llama")
    originals = [weakref.ref(each) for each in model.modules() if type(each) is Linear]
    alive = []
    join = _fusion._joined

    def counted(projections):
        alive.append(sum(each() is not None for each in originals))
        return join(projections)

    monkeypatch.setattr(_fusion, "_joined", counted)
    fuse_projections(model)
    assert alive == [15, 12, 10, 7]  # two layers of three and two projections and two other products; the head
    assert sum(each() is not None for each in originals) == 5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_fused_model_takes_no_more_memory_of_a_gpu_than_it_did():
    layers = [torch.nn.Module() for _ in range(8)]
    for layer in layers:
        for name in ("gate_proj", "up_proj"):
            setattr(layer, name, Linear(4096, 8192, bias=False, device="cuda", dtype=torch.float16))
    weights = 16 * 4096 * 8192 * 2
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    assert fuse_projections(torch.nn.ModuleList(layers)) == 8
    assert torch.cuda.memory_reserved() - before < weights / 16
    assert torch.cuda.max_memory_reserved() - before < weights / 4


def test_a_norm_that_computes_something_else_is_left():
    model = small_model("llama")

    def doubled(states, norm=model.model.norm):
        return 2 * type(norm).forward(norm, states)

    model.model.norm.forward = doubled
    assert fuse_norms(model) == 4
    assert not isinstance(model.model.norm, RMSNorm)


def test_only_this_models_layers_rotate_differently():
    model, other = small_model("llama"), small_model("llama")
    fuse_rotations(model)
    assert "forward" in vars(model.model.layers[0].self_attn)
    assert "forward" not in vars(other.model.layers[0].self_attn)
    assert type(model.model.layers[0].self_attn).forward.__globals__["apply_rotary_pos_emb"] is not rotated


def test_a_copy_of_a_fused_model_still_answers():
    model = small_model("llama")
    fuse_norms(model)
    assert torch.equal(logits(copy.deepcopy(model)), logits(model))
