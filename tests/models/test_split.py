"""A model split over ranks says what the whole model says, and what cannot be split is refused in one line."""

import copy

import pytest
import torch
from torch.nn import Linear

from perfsuite.core.engine import EngineOptions
from perfsuite.core.errors import StrategyUnavailableError
from perfsuite.core.workload import ModelSpec
from perfsuite.models.load import load, require_parallel
from perfsuite.models.ranks import Seat
from perfsuite.models.split import GatheredLinear, SummedLinear, require_split, split, split_of
from perfsuite.models.storage import bytes_of
from perfsuite.strategies._fusion import fuse_norms, fuse_projections, fuse_rotations
from perfsuite.strategies._skinny import use_skinny_products
from tests.strategies.families import small_model
from tests.strategies.meeting import Meeting

SPLIT = ("llama", "qwen2", "mistral", "gemma", "gemma3_text")
IDS = torch.randint(3, 250, (2, 12), generator=torch.Generator().manual_seed(0))


def parts_of(model, meeting):
    """The parts that the ranks of a meeting have of a model."""
    parts = [copy.deepcopy(model) for _ in meeting.seats()]
    for part, seat in zip(parts, meeting.seats(), strict=True):
        split(part, seat)
    return parts


@pytest.mark.parametrize("kind", SPLIT)
def test_all_ranks_say_what_the_whole_model_says(kind, monkeypatch):
    model, meeting = small_model(kind), Meeting(monkeypatch, 2)
    require_split("small", model, 2)
    with torch.no_grad():
        whole = model(IDS).logits
    said = meeting.run([lambda part=part: part(IDS).logits for part in parts_of(model, meeting)])
    assert torch.equal(said[0], said[1])
    assert torch.allclose(said[0], whole, atol=1e-4 * whole.abs().max())
    assert (meeting.sums, meeting.gatherings) == (4, 1)  # two a layer


def test_biases_are_added_once(monkeypatch):
    model = small_model("llama")
    for layer in model.model.layers:
        for module in (layer.self_attn.o_proj, layer.self_attn.q_proj, layer.mlp.up_proj):
            module.bias = torch.nn.Parameter(torch.randn(module.out_features), requires_grad=False)
    model.lm_head.bias = torch.nn.Parameter(torch.randn(300), requires_grad=False)
    with torch.no_grad():
        whole = model(IDS).logits
    meeting = Meeting(monkeypatch, 2)
    said, _ = meeting.run([lambda part=part: part(IDS).logits for part in parts_of(model, meeting)])
    assert torch.allclose(said, whole, atol=1e-4 * whole.abs().max())


@pytest.mark.parametrize("kind", SPLIT)
def test_what_cuda_graph_changes_in_a_model_fits_its_parts(kind, monkeypatch):
    model, meeting = small_model(kind), Meeting(monkeypatch, 2)
    with torch.no_grad():
        whole = model(IDS).logits
    parts = parts_of(model, meeting)
    for part in parts:
        assert fuse_projections(part) == 4
        fuse_norms(part)
        fuse_rotations(part)
    said, _ = meeting.run([lambda part=part: part(IDS).logits for part in parts])
    assert torch.allclose(said, whole, atol=1e-3 * whole.abs().max())


def test_what_jit_cuda_graph_changes_in_a_model_fits_its_parts(monkeypatch):
    model, meeting = small_model("llama").bfloat16(), Meeting(monkeypatch, 2)
    with torch.no_grad():
        whole = model(IDS).logits
    parts = parts_of(model, meeting)
    for part in parts:
        fuse_projections(part)
        assert use_skinny_products(part) == 9
    said, _ = meeting.run([lambda part=part: part(IDS).logits for part in parts])
    assert (said - whole).abs().max() <= 0.05 * whole.abs().max()


def test_each_rank_keeps_its_part_alone():
    model = small_model("llama")
    whole = bytes_of(model.parameters())
    norms_and_table = sum(p.numel() * 4 for n, p in model.named_parameters() if "norm" in n or "embed" in n)
    split(model, Seat(rank=1, size=2))
    assert bytes_of(model.parameters()) == norms_and_table + (whole - norms_and_table) // 2
    layer = model.model.layers[0]
    assert type(layer.self_attn.q_proj) is Linear
    assert (layer.self_attn.q_proj.out_features, layer.self_attn.k_proj.out_features) == (16, 8)
    assert isinstance(layer.mlp.down_proj, SummedLinear)
    assert layer.mlp.down_proj.part.weight._base is None  # nothing keeps the whole alive


def test_a_vocabulary_that_the_ranks_do_not_divide_is_filled_up(monkeypatch):
    meeting = Meeting(monkeypatch, 4)
    head = Linear(8, 10)
    states = torch.randn(2, 3, 8)
    parts = [GatheredLinear(head, seat) for seat in meeting.seats()]
    said = meeting.run([lambda part=part: part(states) for part in parts])
    with torch.no_grad():
        assert all(torch.allclose(each, head(states), atol=1e-6) for each in said)


def test_the_bytes_of_sums_are_those_of_the_states_and_logits():
    found = split_of(small_model("llama"), 2, torch.float16)
    assert (found.token_bytes, found.row_bytes, found.gathered_bytes) == (2 * 32 * 2, 2 * 32 * 2, 300 * 2)


@pytest.mark.parametrize(
    ("kind", "ranks", "said"),
    [
        ("gpt2", 2, "a 'gpt2' model has no plan of transformers (tp_plan) that would split its work; drop the flag"),
        ("llama", 3, "has 4 attention heads, which 3 ranks do not divide; use --perf-tensor-parallel 1 or 2"),
        ("llama", 4, "has 2 key value heads, which 4 ranks do not divide; use --perf-tensor-parallel 1 or 2"),
    ],
)
def test_what_cannot_be_split_is_refused_in_one_line(kind, ranks, said):
    with pytest.raises(StrategyUnavailableError) as caught:
        require_split("small", small_model(kind), ranks)
    assert str(caught.value).startswith("model 'small': --perf-tensor-parallel: a ")
    assert str(caught.value).endswith(said)


def test_a_plan_with_an_unknown_way_to_split_is_refused():
    model = small_model("llama")
    model._tp_plan = {**model._tp_plan, "model.layers.*.mlp": "moe_tp_experts"}
    with pytest.raises(StrategyUnavailableError, match="splits as 'moe_tp_experts', which is not known here"):
        require_split("small", model, 2)


def test_a_width_that_the_ranks_do_not_divide_is_refused():
    model = small_model("llama")
    model.config.num_attention_heads = model.config.num_key_value_heads = 3
    with pytest.raises(
        StrategyUnavailableError, match=r"3 ranks do not divide the 32 columns of model.layers.0.self_attn"
    ):
        require_split("small", model, 3)


def spec(name, **others):
    return ModelSpec(name=name, device="cpu", engine=EngineOptions(tensor_parallel_size=2), **others)


def test_quantized_weights_are_not_split():
    with pytest.raises(StrategyUnavailableError, match="--perf-quantization: quantized weights are not split"):
        require_parallel(spec("tiny", quantization="int8"), 2)


def test_a_model_is_refused_before_its_weights_are_there():
    with pytest.raises(StrategyUnavailableError, match="has 14 attention heads, which 4 ranks do not divide"):
        require_parallel(spec("qwen2.5-0.5b"), 4)


def test_drawn_weights_are_those_of_one_device_and_the_facts_those_of_the_whole(monkeypatch):
    whole = load(spec("tiny", load_format="dummy"))
    meeting = Meeting(monkeypatch, 2)
    parts = [load(spec("tiny", load_format="dummy"), (), seat) for seat in meeting.seats()]
    name = "model.layers.1.mlp.down_proj"
    columns = [part.model.get_submodule(name).part.weight for part in parts]
    assert torch.equal(torch.cat(columns, dim=1), whole.model.get_submodule(name).weight)
    assert {part.facts.ranks for part in parts} == {2}
    assert {part.facts.parameters for part in parts} == {whole.facts.parameters}
    assert {part.facts.fingerprint for part in parts} == {whole.facts.fingerprint}
    assert parts[0].facts.work.weight_bytes == whole.facts.work.weight_bytes
    assert parts[0].facts.work.split.ranks == 2
    assert whole.facts.work.split is None
