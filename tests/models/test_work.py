"""What a model has to read and compute, counted from its own tensors."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from perfsuite.core.work import Attention
from perfsuite.core.workload import ModelSpec
from perfsuite.models.load import load
from perfsuite.models.work import work_of
from perfsuite.strategies._decode import last_position_only
from tests.strategies.families import FAMILIES, small_model


def tables(model):
    """Elements of the embedding tables that are no output head."""
    head = model.get_output_embeddings().weight
    found = (m.weight for m in model.modules() if isinstance(m, nn.Embedding))
    return sum(weight.numel() for weight in found if weight is not head)


@pytest.mark.parametrize("kind", FAMILIES)
def test_all_parameters_are_read_but_tables_that_are_no_head(kind):
    model = small_model(kind)
    elements = sum(parameter.numel() for parameter in model.parameters()) - tables(model)
    assert work_of(model, torch.float32).weight_bytes == 4 * elements


@pytest.mark.parametrize("kind", FAMILIES)
def test_operations_are_those_that_torch_counts(kind):
    """A prompt of five tokens: torch counts a square of attention, a causal pass needs a good half of it."""
    model, tokens = small_model(kind), 5
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        logits = model(torch.ones(1, tokens, dtype=torch.int64), **last_position_only(model)).logits
    work = work_of(model, torch.float32)
    square = tokens * tokens * sum(attention.layers * attention.pair_flops for attention in work.attention)
    last = last_layer_flops(model)
    expected = tokens * (work.token_flops + last) + logits.shape[1] * (work.head_flops - last) + square
    assert counter.get_total_flops() == expected + operations_of(counter, "rotary")


def last_layer_flops(model):
    """What a token costs in the last layer, which torch computes for all of them."""
    stack = next(each for each in model.modules() if isinstance(each, nn.ModuleList))
    return sum(2 * parameter.numel() for parameter in stack[-1].parameters() if parameter.dim() == 2)


def operations_of(counter, part):
    """What parts of a model whose name holds `part` compute."""
    found = counter.get_flop_counts().items()
    return sum(count for name, operations in found if part in name for count in operations.values())


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_cache_of_a_position_has_the_bytes_that_transformers_keeps(kind):
    model, tokens = small_model(kind), 5
    layers = model(torch.ones(1, tokens, dtype=torch.int64), use_cache=True).past_key_values.layers
    kept = sum(tensor.numel() * tensor.element_size() for layer in layers for tensor in (layer.keys, layer.values))
    assert sum(a.layers * a.kv_bytes for a in work_of(model, torch.float32).attention) == kept / tokens


def test_the_cache_is_in_the_dtype_that_is_named():
    model = small_model("llama")
    full, half = (work_of(model, dtype).attention[0].kv_bytes for dtype in (torch.float32, torch.float16))
    assert full == 2 * half


@pytest.mark.parametrize(
    ("kind", "windows"),
    [("llama", {None: 2}), ("mistral", {16: 2}), ("gemma3_text", {16: 1, None: 1}), ("gpt2", {None: 2}), ("mamba", {})],
)
def test_layers_with_a_window_are_told_from_the_others(kind, windows):
    attention = work_of(small_model(kind), torch.float32).attention
    assert {found.window: found.layers for found in attention} == windows


def test_a_mixture_of_experts_is_not_known():
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = AutoConfig.for_model("mixtral", vocab_size=50, num_key_value_heads=2, num_local_experts=4, **sizes)
    assert work_of(AutoModelForCausalLM.from_config(config), torch.float32) is None


class Int8Linear(nn.Module):
    """A linear layer as weight-only quantization leaves it: buffers of one byte an element, and a scale a row."""

    def __init__(self, linear):
        super().__init__()
        self.register_buffer("weight", torch.zeros_like(linear.weight, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(linear.out_features))
        self.register_buffer("unpacked", torch.zeros_like(linear.weight), persistent=False)


def test_quantized_weights_count_with_the_bytes_they_really_take():
    model = small_model("llama")
    before = work_of(model, torch.float32)
    linear = model.model.layers[0].mlp.up_proj
    model.model.layers[0].mlp.up_proj = Int8Linear(linear)
    after = work_of(model, torch.float32)
    assert before.weight_bytes - after.weight_bytes == 3 * linear.weight.numel() - 4 * linear.out_features
    assert after.token_flops == before.token_flops


def test_a_loaded_model_says_its_work_among_its_facts():
    """128 wide, 4 layers, 4 heads of 32, 2 of them with keys and values; 258 tokens, the table is the head."""
    work = load(ModelSpec(name="tiny", device="cpu")).facts.work
    layer = 2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 352
    assert work.token_flops == 2 * 3 * layer
    assert work.head_flops == 2 * (258 * 128 + layer)
    assert work.weight_bytes == 4 * (4 * (layer + 2 * 128) + 128 + 258 * 128)
    assert work.attention == (Attention(layers=4, kv_bytes=2 * 2 * 32 * 4, pair_flops=4 * 4 * 32),)
