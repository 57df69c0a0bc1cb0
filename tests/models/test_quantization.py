"""Weights become small and say so, logits stay near, and what cannot be quantized is refused in one line."""

import sys

import pytest
import torch
from torch import nn

from perfsuite.core.errors import StrategyUnavailableError
from perfsuite.core.workload import ModelSpec
from perfsuite.models.load import load
from perfsuite.models.quantization import quantize, require_quantization
from perfsuite.models.storage import bytes_of, is_plain, parts
from tests.strategies.families import small_model

KINDS = ("int8", "fp8")
CPU = torch.device("cpu")
BOUND = {"int8": 0.1, "fp8": 0.35}  # how far logits of the tiny model move, of the largest one
ROUNDING = {
    "int8": 0.5 / 127,
    "fp8": 1 / 16,
}  # at most, of the largest weight of a row (int8) or of the weight itself (fp8)

LINEAR = 4 * (2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 352)
"""Weights of the tiny model's linear layers."""
OUTPUTS = 4 * (2 * 128 + 2 * 64 + 2 * 352 + 128)
OTHERS = 258 * 128 + 4 * 2 * 128 + 128
"""Its table, which is the head as well, and its norms."""


@pytest.fixture(scope="module")
def torchao():
    return pytest.importorskip("torchao")


def tiny(**changes):
    return ModelSpec(name="tiny", device="cpu", **changes)


def logits_of(model):
    ids = torch.randint(0, 250, (2, 30), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        return model(ids).logits.float()


@pytest.mark.parametrize(("dtype", "size", "share"), [("float32", 4, 0.31), ("bfloat16", 2, 0.56)])
def test_int8_weights_take_a_byte_each_and_tables_what_they_took(torchao, dtype, size, share):
    plain, small = load(tiny(dtype=dtype)), load(tiny(dtype=dtype, quantization="int8"))
    scales_and_zero_points = OUTPUTS * (4 + 1)
    assert plain.weight_bytes == size * (LINEAR + OTHERS)
    assert small.weight_bytes == LINEAR + scales_and_zero_points + size * OTHERS
    assert small.weight_bytes < share * plain.weight_bytes


@pytest.mark.parametrize("kind", KINDS)
def test_a_pass_reads_the_bytes_that_are_there_and_computes_what_it_did(torchao, kind):
    plain, small = load(tiny()), load(tiny(quantization=kind))
    assert small.facts.work.weight_bytes == small.weight_bytes  # the table is the head
    assert small.facts.work.token_flops == plain.facts.work.token_flops
    assert small.facts.parameters == plain.facts.parameters


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_the_rounded_weights_and_near_those_of_the_model(torchao, kind):
    plain, small, rounded = load(tiny()), load(tiny(quantization=kind)), load(tiny())
    quantized = dict(small.model.named_parameters())
    with torch.no_grad():
        for name, weight in rounded.model.named_parameters():
            if not is_plain(quantized[name]):
                weight.copy_(quantized[name].dequantize())
    expected, exact = logits_of(rounded.model), logits_of(plain.model)
    assert (logits_of(small.model) - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert (expected - exact).abs().max() <= BOUND[kind] * exact.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_each_weight_is_rounded_to_the_nearest_that_the_kind_has(torchao, kind):
    plain, small = load(tiny()).model, load(tiny(quantization=kind)).model
    exact, weight = (model.model.layers[1].mlp.down_proj.weight for model in (plain, small))
    whole = exact.abs().amax(dim=1, keepdim=True) if kind == "int8" else exact.abs()
    smallest = exact.abs().amax(dim=1, keepdim=True) / 448 * 2**-9  # what fp8 cannot tell from nothing
    allowed = ROUNDING[kind] * whole * 1.001 + (smallest if kind == "fp8" else 0)
    assert ((weight.dequantize() - exact).abs() <= allowed).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_the_table_and_the_norms_stay_as_they_are(torchao, kind):
    model = small_model("llama")
    quantize(model, kind)
    left = {name for name, weight in model.named_parameters() if is_plain(weight)}
    linear = {
        f"{name}.weight" for name, module in model.model.named_modules(prefix="model") if type(module) is nn.Linear
    }
    assert left == {name for name, _ in model.named_parameters()} - linear
    assert "lm_head.weight" in left


def test_the_facts_say_what_quantized_the_weights(torchao):
    assert load(tiny()).facts.quantization is None
    assert load(tiny(quantization="int8")).facts.quantization == f"int8 weight-only (torchao {torchao.__version__})"


def test_a_model_whose_weights_are_not_in_linear_layers_is_refused():
    with pytest.raises(StrategyUnavailableError, match=r"a 'gpt2' model keeps 0 % of its weights in linear .*drop the"):
        quantize(small_model("gpt2"), "int8")


def test_without_torchao_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(
        StrategyUnavailableError, match=r"int8 needs torchao.*; install it with: pip install \"torchao>="
    ):
        load(tiny(quantization="int8"))


@pytest.mark.parametrize(("capability", "is_enough"), [((8, 0), False), ((8, 9), True), ((9, 0), True)])
def test_fp8_on_a_gpu_needs_one_that_knows_it(torchao, monkeypatch, capability, is_enough):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    if is_enough:
        require_quantization("fp8", torch.device("cuda", 0))
        return
    with pytest.raises(StrategyUnavailableError, match=r"capability 8.9 or above .* cuda:0 has 8.0; use .*int8$"):
        require_quantization("fp8", torch.device("cuda", 0))
    require_quantization("int8", torch.device("cuda", 0))


def test_a_plain_tensor_is_its_only_part():
    tensor = torch.zeros(3, 5, dtype=torch.float16)
    assert parts(tensor) == (tensor,)
    assert bytes_of((tensor, tensor)) == 60
