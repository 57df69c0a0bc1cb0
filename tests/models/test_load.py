"""A name becomes a model on its device, or one line that says why not."""

import json
import sys

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from perfsuite.core.errors import DeviceMemoryError, ModelLoadError, OptionError
from perfsuite.core.workload import ModelSpec
from perfsuite.models.load import load

IDS = torch.tensor([[1, 2, 3, 4, 5]])
LLAMA = {
    "model_type": "llama",
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}
QWEN2 = {**LLAMA, "model_type": "qwen2", "num_key_value_heads": 1}
GPT2 = {"model_type": "gpt2", "vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}


def cpu(name, **changes):
    return ModelSpec(name=str(name), device="cpu", **changes)


def write_config(folder, config):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return folder


def save(folder, config):
    """A folder with real weights, and the model they come from."""
    values = dict(config)
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(values.pop("model_type"), **values)).eval()
    model.save_pretrained(folder)
    return model


def problem_with(spec):
    with pytest.raises(ModelLoadError) as caught:
        load(spec)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_a_preset_loads_frozen_and_in_eval_mode():
    loaded = load(cpu("tiny"))
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.eos_token_ids == (257,)
    facts = loaded.facts
    assert (facts.vocabulary, facts.positions, facts.parameters) == (258, 1024, 771_456)
    assert (facts.dtype, facts.device, loaded.weight_bytes) == ("float32", "cpu", 4 * 771_456)


def test_dummy_weights_are_the_same_each_time_and_leave_the_random_state_alone():
    torch.manual_seed(7)
    expected_draw = torch.rand(1)
    torch.manual_seed(7)
    first = load(cpu("tiny", load_format="dummy")).model.state_dict()
    assert torch.equal(torch.rand(1), expected_draw)
    second = load(cpu("tiny", load_format="dummy")).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_dummy_weights_are_normal_and_norms_are_one():
    weights = load(cpu("tiny", load_format="dummy")).model.state_dict()
    drawn = weights["model.layers.0.mlp.up_proj.weight"]
    assert drawn.mean().abs() < 0.002
    assert drawn.std() == pytest.approx(0.1, rel=0.02)
    assert torch.equal(weights["model.layers.0.input_layernorm.weight"], torch.ones(128))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_rotary_frequencies_stay_exact_whatever_the_dtype(dtype):
    loaded = load(cpu("tiny", dtype=dtype))
    expected = 10000.0 ** (-torch.arange(0, 32, 2, dtype=torch.float64) / 32)
    frequencies = loaded.model.model.rotary_emb.inv_freq
    assert loaded.facts.dtype == dtype
    assert loaded.model.lm_head.weight.dtype == getattr(torch, dtype)
    assert frequencies.dtype == torch.float32
    torch.testing.assert_close(frequencies.double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("config", [LLAMA, QWEN2, GPT2], ids=lambda config: config["model_type"])
def test_a_folder_loads_with_the_weights_that_were_saved(tmp_path, config):
    saved = save(tmp_path, config)
    loaded = load(cpu(tmp_path))
    with torch.inference_mode():
        assert torch.equal(loaded.model(IDS).logits, saved(IDS).logits)
    assert (loaded.facts.vocabulary, loaded.facts.positions) == (50, 64)


def test_loading_prints_nothing(tmp_path, capfd):
    save(tmp_path, LLAMA)
    capfd.readouterr()
    load(cpu(tmp_path))
    load(cpu("tiny"))
    assert capfd.readouterr() == ("", "")


def test_a_folder_with_dummy_format_needs_no_weights(tmp_path):
    loaded = load(cpu(write_config(tmp_path, LLAMA), load_format="dummy"))
    assert loaded.model(IDS).logits.shape == (1, 5, 50)


def test_a_generation_config_may_name_several_end_ids(tmp_path):
    save(tmp_path, LLAMA)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 9]}))
    assert load(cpu(tmp_path)).eos_token_ids == (7, 9)


def test_fingerprints_tell_models_and_weights_apart(tmp_path):
    save(tmp_path / "a", LLAMA)
    save(tmp_path / "b", QWEN2)
    specs = [cpu("tiny"), cpu(tmp_path / "a"), cpu(tmp_path / "a", load_format="dummy"), cpu(tmp_path / "b")]
    prints = [load(spec).facts.fingerprint for spec in specs]
    assert all(len(text) == 16 for text in prints)
    assert len(set(prints)) == len(prints)


def test_a_fingerprint_does_not_depend_on_the_dtype(tmp_path):
    save(tmp_path, LLAMA)
    expected = load(cpu(tmp_path)).facts.fingerprint
    assert load(cpu(tmp_path, dtype="bfloat16")).facts.fingerprint == expected


def test_a_model_keeps_its_fingerprint_when_it_moves(tmp_path):
    save(tmp_path / "here", LLAMA)
    expected = load(cpu(tmp_path / "here")).facts.fingerprint
    (tmp_path / "here").rename(tmp_path / "there")
    assert load(cpu(tmp_path / "there")).facts.fingerprint == expected


def test_an_unknown_name_is_told_what_there_is(offline):
    text = problem_with(cpu("tinny"))
    assert "model 'tinny': neither a preset (tiny, " in text
    assert "nor a folder" in text
    assert "Hugging Face" in text


def test_a_hub_id_without_network_says_so(offline):
    assert "couldn't connect" in problem_with(cpu("somebody/some-model"))


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere-at-all"])
def test_a_path_that_leads_nowhere_is_not_looked_up_on_the_hub(name):
    assert "there is no such folder" in problem_with(cpu(name))


def test_a_folder_without_config_is_refused(tmp_path):
    assert "has no config.json" in problem_with(cpu(tmp_path))


@pytest.mark.parametrize(
    "config",
    ["{oops", "[1]", {}, {"model_type": "zzz"}, {**LLAMA, "hidden_size": "x"}, {**LLAMA, "hidden_size": 17}],
    ids=["not JSON", "not an object", "no type", "unknown type", "no number", "does not divide"],
)
def test_a_broken_config_is_refused_in_one_line(tmp_path, config):
    assert "the folder cannot be loaded" in problem_with(cpu(write_config(tmp_path, config)))


def test_a_folder_without_weights_is_refused(tmp_path):
    assert "no file named model.safetensors" in problem_with(cpu(write_config(tmp_path, LLAMA)))


@pytest.mark.parametrize("keep", [0, 100, 5000], ids=["empty", "within the header", "within the weights"])
def test_a_cut_off_safetensors_file_is_refused(tmp_path, keep):
    save(tmp_path, LLAMA)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    assert "a safetensors file is broken" in problem_with(cpu(tmp_path))


def test_weights_that_do_not_fit_the_config_are_refused(tmp_path):
    save(tmp_path, LLAMA)
    write_config(tmp_path, {**LLAMA, "hidden_size": 32})
    assert "do not have the shapes that config.json says" in problem_with(cpu(tmp_path))


def test_a_checkpoint_that_lacks_weights_is_refused_instead_of_being_filled_at_random(tmp_path):
    save(tmp_path, LLAMA)
    write_config(tmp_path, {**LLAMA, "num_hidden_layers": 3})
    assert "lacks 9 of its weights" in problem_with(cpu(tmp_path))


@pytest.mark.parametrize("kind", ["t5", "bert", "bart", "vit"])
@pytest.mark.parametrize("load_format", ["auto", "dummy"])
def test_what_is_no_decoder_is_refused(tmp_path, kind, load_format):
    text = problem_with(cpu(write_config(tmp_path, {"model_type": kind}), load_format=load_format))
    assert f"a {kind!r} model is not a decoder-only language model" in text


def test_a_model_with_code_of_its_own_names_the_flag_that_allows_it(tmp_path):
    own = {"model_type": "zzz", "auto_map": {"AutoConfig": "x.Y", "AutoModelForCausalLM": "x.Z"}}
    assert "--perf-trust-remote-code" in problem_with(cpu(write_config(tmp_path, own)))


def test_a_model_with_code_of_its_own_runs_once_that_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    save(tmp_path, LLAMA)
    (tmp_path / "own.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own-model'\n"
        "class OwnModel(LlamaForCausalLM):\n    config_class = OwnConfig\n"
    )
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    write_config(tmp_path, {**LLAMA, "model_type": "own-model", "auto_map": own})
    assert type(load(cpu(tmp_path, trust_remote_code=True)).model).__name__ == "OwnModel"


def test_cuda_is_refused_where_torch_sees_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match=r"--perf-device: 'cuda:1' was asked for, but torch .* sees no CUDA device"):
        load(ModelSpec(name="tiny", device="cuda:1"))


def test_a_cuda_index_past_the_last_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(OptionError, match=r"'cuda:2' was asked for, but the last CUDA device is 'cuda:1'"):
        load(ModelSpec(name="tiny", device="cuda:2"))


def test_running_out_of_device_memory_names_the_sizes(monkeypatch):
    def exhaust(*args, **kwargs):
        monkeypatch.undo()
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(AutoModelForCausalLM, "from_config", exhaust)
    with pytest.raises(DeviceMemoryError, match=r"the weights take 3 MiB, .* were free; .* a smaller model$"):
        load(cpu("tiny", load_format="dummy"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("load_format", ["auto", "dummy"])
def test_on_a_gpu_a_preset_is_in_half_precision_whether_drawn_or_read(load_format):
    loaded = load(ModelSpec(name="tiny", load_format=load_format))
    assert loaded.facts.dtype == "float16"
    assert {tensor.device.type for tensor in [*loaded.model.parameters(), *loaded.model.buffers()]} == {"cuda"}
    assert loaded.model.model.rotary_emb.inv_freq.dtype == torch.float32
