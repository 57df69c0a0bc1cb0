import math
from dataclasses import replace

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.core.workload import DEFAULT_SAMPLING, ModelSpec, SamplingParams, Workload


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.inf),
        ("temperature", math.nan),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_p", math.nan),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", math.inf),
        ("seed", -1),
    ],
)
def test_a_sampling_parameter_out_of_its_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(OptionError, match=f"^{name}: .* is not allowed; it must be "):
        replace(DEFAULT_SAMPLING, **{name: value})


@pytest.mark.parametrize("params", [SamplingParams(temperature=0), SamplingParams(top_k=1)])
def test_temperature_zero_and_top_k_one_are_greedy(params: SamplingParams) -> None:
    assert params.is_greedy


def test_plain_sampling_is_not_greedy() -> None:
    assert not SamplingParams().is_greedy


@pytest.mark.parametrize("name", ["prompt_tokens", "output_tokens", "batch_size"])
def test_a_workload_without_tokens_or_sequences_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match=f"^{name}: 0 is not allowed; it must be a whole number, 1 or above$"):
        Workload(**{"prompt_tokens": 10, name: 0})


def test_a_workload_takes_cache_positions_for_prompt_and_output() -> None:
    assert Workload(prompt_tokens=100, output_tokens=32).total_tokens == 132


@pytest.mark.parametrize(
    ("workload", "slug"),
    [
        (Workload(prompt_tokens=100), "p100-o32"),
        (Workload(prompt_tokens=10, output_tokens=1, batch_size=4), "p10-o1-b4"),
        (Workload(prompt_tokens=10, sampling=SamplingParams(temperature=0)), "p10-o32-greedy"),
        (Workload(prompt_tokens=10, sampling=replace(DEFAULT_SAMPLING, temperature=0.9)), "p10-o32-temperature0.9"),
        (Workload(prompt_tokens=10, sampling=replace(DEFAULT_SAMPLING, top_k=40, top_p=1)), "p10-o32-topk40-topp1"),
        (Workload(prompt_tokens=10, seed=7), "p10-o32-seed7"),
    ],
)
def test_a_workload_is_called_by_what_differs_from_the_default(workload: Workload, slug: str) -> None:
    assert workload.slug == slug


@pytest.mark.parametrize(
    ("spec", "slug"),
    [
        (ModelSpec(name="tiny"), "tiny"),
        (ModelSpec(name="meta-llama/Llama-2-7b-hf"), "meta-llama--Llama-2-7b-hf"),
        (ModelSpec(name="llama-2-7b", dtype="bfloat16"), "llama-2-7b-bf16"),
        (ModelSpec(name="llama-2-7b", quantization="fp8"), "llama-2-7b-fp8"),
        (ModelSpec(name="/models/My Model/"), "My-Model"),
        (ModelSpec(name="./checkpoints/run 7"), "run-7"),
    ],
)
def test_a_model_has_a_name_fit_for_a_file(spec: ModelSpec, slug: str) -> None:
    assert spec.slug == slug


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_a_device_of_torch_is_accepted(device: str) -> None:
    assert ModelSpec(name="tiny", device=device).device == device


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("dtype", "int8", "one of auto, float32, float16, bfloat16"),
        ("load_format", "gguf", "one of auto, dummy"),
        ("quantization", "int4", "one of int8, fp8"),
        ("quantization", "", "one of int8, fp8"),
        ("device", "cuda:x", "one of auto, cpu, cuda, cuda:N"),
        ("device", "tpu", "one of auto, cpu, cuda, cuda:N"),
    ],
)
def test_a_model_option_that_does_not_exist_is_refused_with_the_choices(field: str, value: str, allowed: str) -> None:
    with pytest.raises(OptionError) as caught:
        ModelSpec(**{"name": "tiny", field: value})
    assert str(caught.value).endswith(f": {value!r} is not allowed; it must be {allowed}")


@pytest.mark.parametrize("name", ["", "   "])
def test_a_model_without_a_name_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match="the name is empty"):
        ModelSpec(name=name)
