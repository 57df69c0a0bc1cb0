"""A model becomes real engines, all of it or none; those for an explicit target are built without a GPU."""

import logging

import pytest
import torch

from perfsuite.core.errors import DeviceMemoryError, StrategyUnavailableError
from perfsuite.strategies import _engine_build
from perfsuite.strategies._engine_build import Shape, build_decode, build_prefill
from perfsuite.strategies._engine_runtime import Runtime
from perfsuite.strategies._engine_toolkit import find_toolkit
from perfsuite.strategies._fusion import fuse_projections
from tests.strategies.families import small_model

SHAPE = Shape(rows=2, length=64)
TARGET = "SM89"  # an explicit one: an engine for the GPU at hand needs a GPU


@pytest.fixture(scope="module")
def toolkit():
    try:
        found = find_toolkit()
    except StrategyUnavailableError as error:
        pytest.skip(str(error))
    if not found.is_rtx:
        pytest.skip("only TensorRT-RTX builds for a GPU that is not there")
    return found


def small(kind, dtype=torch.float16):
    model = small_model(kind).to(dtype)
    fuse_projections(model)
    return model


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_both_engines_are_built_for_a_gpu_that_is_not_there(toolkit, dtype):
    model = small("llama", dtype)
    prefill = build_prefill(model, SHAPE, toolkit, target=TARGET)
    decode = build_decode(model, SHAPE, toolkit, target=TARGET)
    weights = len(list(model.parameters()))
    assert len(prefill.inputs) == 2 + weights
    assert len(decode.inputs) == 2 + 2 * model.config.num_hidden_layers + weights
    for plan in (prefill, decode):
        assert plan.inputs[:2] == ("ids", "positions")
        assert len(plan.outputs) == 1 + 2 * model.config.num_hidden_layers
        assert plan.nodes > 100
        assert len(plan.data) > 10_000


@pytest.mark.parametrize("kind", ["qwen2", "mistral", "gpt2", "gemma", "gemma3_text"])
def test_other_families_are_built_as_a_whole_too(toolkit, kind):
    model = small(kind)
    assert build_prefill(model, SHAPE, toolkit, target=TARGET).nodes > 50
    assert build_decode(model, SHAPE, toolkit, target=TARGET).nodes > 50


def test_what_has_no_counterpart_in_tensorrt_is_named_and_never_left_to_pytorch(toolkit, monkeypatch):
    model = small("llama")
    head = model.lm_head.forward
    monkeypatch.setattr(model.lm_head, "forward", lambda states: torch.special.bessel_j0(head(states).float()))
    with pytest.raises(StrategyUnavailableError) as caught:
        build_decode(model, SHAPE, toolkit, target=TARGET)
    assert str(caught.value) == (
        "tensorrt: TensorRT has no counterpart for some operations of this model "
        "(torch.ops.aten.special_bessel_j0.default), and perfsuite leaves none to PyTorch; use --perf-strategy eager "
        "or jit-cuda-graph"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="where there is a GPU, an engine for it can be built")
def test_a_build_that_fails_raises_with_what_tensorrt_says(toolkit):
    with pytest.raises(
        StrategyUnavailableError, match="no engine could be built for 2 rows and 64 positions"
    ) as caught:
        build_decode(small("llama"), SHAPE, toolkit, target="CURRENT")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "ends",
    [
        lambda *_: logging.getLogger(_engine_build._CONVERSION_LOG).error("Requested size is too large: OutOfMemory"),
        lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 12 GiB\nmore")),
    ],
    ids=["TensorRT says so", "torch says so"],
)
def test_no_room_to_build_is_said_with_what_to_lower(toolkit, monkeypatch, ends):
    monkeypatch.setattr(_engine_build, "_engine", ends)
    with pytest.raises(DeviceMemoryError) as caught:
        build_decode(small("llama"), SHAPE, toolkit, target=TARGET)
    assert str(caught.value).startswith("out of memory while building an engine for 2 rows and 64 positions (")
    assert str(caught.value).endswith("; lower the batch size or the prompt and output length, or free the GPU")
    assert "\n" not in str(caught.value)


@pytest.fixture
def runtime(toolkit):
    return Runtime(toolkit)


def test_bytes_that_are_no_engine_are_refused_in_tensorrts_own_words(runtime):
    with pytest.raises(StrategyUnavailableError) as caught:
        runtime.engine(b"no engine at all" * 10, "'b1-c64/decode.engine'")
    assert str(caught.value).startswith(
        "tensorrt: TensorRT-RTX does not take 'b1-c64/decode.engine'; build it again, or use --perf-strategy "
        "jit-cuda-graph (IRuntime::deserializeCudaEngine: Error Code 1: Serialization"
    )
    assert "\n" not in str(caught.value)


def test_where_tensorrt_lacks_room_it_is_an_error_of_memory(runtime):
    runtime._complaints.append("[defaultAllocator.cpp::allocate] Error Code 1: Cuda Runtime (out of memory)")
    assert isinstance(runtime.problem("makes no context"), DeviceMemoryError)
    assert isinstance(runtime.problem("makes no context"), StrategyUnavailableError)  # it has said so once


def test_a_cap_on_attention_scores_is_refused_not_dropped():
    model = small_model("llama")
    attention = _engine_build.EnginePass(model, 2, 64)
    layer = model.model.layers[0].self_attn
    forward = layer.forward
    layer.forward = lambda *arguments, **options: forward(*arguments, **options, softcap=50.0)
    with pytest.raises(StrategyUnavailableError, match="attention with 'softcap' is not written out for engines"):
        attention(torch.ones(1, 3, dtype=torch.int64), torch.arange(3).unsqueeze(0), [], dict(model.named_parameters()))
