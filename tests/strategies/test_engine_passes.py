"""The passes that engines are made of give what the model gives: the cache comes in, new states go out."""

import pytest
import torch

from perfsuite.strategies._engine_passes import EnginePass, weights_of
from perfsuite.strategies._fusion import fuse_projections
from perfsuite.strategies._static import layer_count
from tests.strategies.families import STATIC, small_model

LENGTH = 64


def over_prompt(engine_pass, model, ids):
    positions = torch.arange(ids.shape[1]).unsqueeze(0)
    logits, *states = engine_pass(ids, positions, [], weights_of(model))
    cache = [state.new_full((*state.shape[:2], LENGTH, state.shape[3]), 7.0) for state in states]  # not read: masked
    for kept, state in zip(cache, states, strict=True):
        kept[:, :, : ids.shape[1]] = state
    return logits, cache


def drawn_ids(rows, tokens):
    return torch.randint(3, 250, (rows, tokens), generator=torch.Generator().manual_seed(tokens))


@pytest.fixture(params=STATIC)
def model(request):
    return small_model(request.param)


@pytest.mark.parametrize("rows", [1, 3])
@torch.no_grad()
def test_a_prompt_and_the_tokens_after_it_give_the_logits_of_the_whole_sequence(model, rows):
    ids = drawn_ids(rows, 24)  # longer than the sliding windows of the families
    expected = model(ids).logits
    engine_pass = EnginePass(model, layer_count(model), LENGTH)
    logits, cache = over_prompt(engine_pass, model, ids[:, :20])
    assert torch.allclose(logits, expected[:, 19], atol=1e-4)
    for position in range(20, 24):
        at = torch.tensor([[position]])
        logits, *states = engine_pass(ids[:, position : position + 1], at, cache, weights_of(model))
        assert torch.allclose(logits, expected[:, position], atol=1e-4)
        for kept, state in zip(cache, states, strict=True):
            kept[:, :, position : position + 1] = state


@torch.no_grad()
def test_weights_are_those_that_come_in(model):
    engine_pass = EnginePass(model, layer_count(model), LENGTH)
    positions = torch.arange(5).unsqueeze(0)
    others = {name: weight + 0.5 for name, weight in weights_of(model).items()}
    changed = engine_pass(drawn_ids(1, 5), positions, [], others)[0]
    for name, weight in weights_of(model).items():
        weight.copy_(others[name])
    assert torch.allclose(changed, model(drawn_ids(1, 5)).logits[:, -1], rtol=1e-4, atol=1e-4)  # sums of larger weights


@torch.no_grad()
def test_the_model_attends_as_before_afterwards(model):
    before, expected = model.config._attn_implementation, model(drawn_ids(1, 5)).logits
    over_prompt(EnginePass(model, layer_count(model), LENGTH), model, drawn_ids(1, 5))
    assert model.config._attn_implementation == before
    assert torch.equal(model(drawn_ids(1, 5)).logits, expected)


@torch.no_grad()
def test_joined_projections_change_nothing():
    model = small_model("llama")
    expected = model(drawn_ids(1, 5)).logits[:, -1]
    assert fuse_projections(model)
    logits, _ = over_prompt(EnginePass(model, layer_count(model), LENGTH), model, drawn_ids(1, 5))
    assert torch.allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("dynamic", [True, False])
@torch.no_grad()
def test_a_pass_is_exported_as_one_graph_that_takes_weights_and_cache_as_inputs(model, dynamic):
    engine_pass, weights = EnginePass(model, layer_count(model), LENGTH), weights_of(model)
    _, cache = over_prompt(engine_pass, model, drawn_ids(1, 7))
    tokens = torch.export.Dim("tokens", min=1, max=LENGTH)
    if dynamic:
        arguments = (drawn_ids(1, 7), torch.arange(7).unsqueeze(0), [], weights)
        shapes = ({1: tokens}, {1: tokens}, [], dict.fromkeys(weights))
    else:
        arguments, shapes = (drawn_ids(1, 1), torch.tensor([[7]]), cache, weights), None
    program = torch.export.export(
        engine_pass, arguments, dynamic_shapes=shapes, strict=False, prefer_deferred_runtime_asserts_over_guards=True
    )
    assert not program.state_dict
    expected = engine_pass(*arguments)
    for ours, theirs in zip(program.module()(*arguments), expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
