"""The presets have the published shapes, and lengths are known before anything is loaded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from perfsuite.core.errors import OptionError
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.models.presets import (
    check_positions,
    names,
    packaged_weights,
    positions_in,
    positions_of,
    preset,
    vocabulary_of,
)

PUBLISHED_PARAMETERS = {
    "tinyllama-1.1b": 1_100_048_384,
    "llama-2-7b": 6_738_415_616,
    "llama-3-8b": 8_030_261_248,
    "qwen2.5-0.5b": 494_032_768,
    "mistral-7b": 7_248_023_552,
}


def shape_of(name):
    config = dict(preset(name).config)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(config.pop("model_type"), **config))


@pytest.mark.parametrize("name", PUBLISHED_PARAMETERS)
def test_a_preset_has_as_many_parameters_as_the_published_model(name):
    assert sum(parameter.numel() for parameter in shape_of(name).parameters()) == PUBLISHED_PARAMETERS[name]


@pytest.mark.parametrize(
    ("name", "theta"), [("llama-2-7b", 10_000), ("llama-3-8b", 500_000), ("qwen2.5-0.5b", 1e6), ("mistral-7b", 1e6)]
)
def test_the_rotary_base_of_a_preset_reaches_the_model(name, theta):
    assert shape_of(name).config.rope_parameters["rope_theta"] == theta


def test_only_tiny_comes_with_weights_unless_dummy_ones_are_asked_for():
    assert [name for name in names() if packaged_weights(ModelSpec(name=name))] == ["tiny"]
    assert packaged_weights(ModelSpec(name="tiny", load_format="dummy")) is None
    assert packaged_weights(ModelSpec(name="./tiny")) is None


def test_no_preset_attends_through_a_sliding_window():
    assert not any(shape_of(name).config.to_dict().get("use_sliding_window") for name in names())
    assert shape_of("mistral-7b").config.sliding_window is None


def test_an_unknown_name_is_no_preset():
    assert preset("tinny") is None


def test_a_preset_cannot_be_changed():
    with pytest.raises(TypeError):
        preset("tiny").config["hidden_size"] = 1


def test_every_preset_knows_its_positions():
    assert {name: positions_of(name) for name in names()} == {
        "tiny": 1024,
        "qwen2.5-0.5b": 32768,
        "tinyllama-1.1b": 2048,
        "llama-2-7b": 4096,
        "mistral-7b": 32768,
        "llama-3-8b": 8192,
    }


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({"max_position_embeddings": 77}, 77),
        ({"n_positions": 78}, 78),
        ({"text_config": {"max_position_embeddings": 79}}, 79),
        ({"max_position_embeddings": None}, None),
        ({}, None),
        ([], None),
    ],
)
def test_the_positions_of_a_folder_come_from_its_config(tmp_path, config, positions):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert positions_of(str(tmp_path)) == positions


@pytest.mark.parametrize("text", ["[" * 100_000, '{"n_positions": ' + "7" * 5000 + "}"])
def test_the_positions_of_a_folder_that_nobody_could_work_on_are_unknown(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert positions_of(str(tmp_path)) is None


def test_the_positions_of_a_hub_id_or_a_broken_folder_are_unknown(tmp_path):
    (tmp_path / "config.json").write_text("{oops")
    assert positions_of("somebody/some-model") is None
    assert positions_of(str(tmp_path)) is None
    assert positions_in({"n_positions": "many"}) is None


def test_a_workload_longer_than_the_model_is_refused_with_both_lengths():
    fits, too_long = Workload(prompt_tokens=10), Workload(prompt_tokens=1000, output_tokens=25)
    check_positions("tiny", 1025, [fits, too_long])
    check_positions("somebody/some-model", None, [too_long])
    check_positions("tiny", 1024, [])
    with pytest.raises(OptionError, match=r"'tiny': 1000 prompt and 25 output tokens take 1025 positions.* has 1024"):
        check_positions("tiny", 1024, [fits, too_long])


def test_the_presets_load_neither_torch_nor_transformers():
    code = (
        "import sys, perfsuite.models.presets, perfsuite.strategies; print({'torch', 'transformers'} & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_the_size_of_a_vocabulary_is_known_without_loading(tmp_path: Path) -> None:
    assert vocabulary_of("llama-2-7b") == 32000
    (tmp_path / "config.json").write_text('{"text_config": {"vocab_size": 7}}')
    assert vocabulary_of(str(tmp_path)) == 7
    assert vocabulary_of("served") is None
