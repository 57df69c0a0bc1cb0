"""Owns how a model's name becomes a transformers config, and what is said when it or its weights cannot be loaded."""

from typing import Any

import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig

from perfsuite.core.errors import ModelLoadError, first_words
from perfsuite.core.workload import ModelSpec
from perfsuite.models.presets import folder_of, names, packaged_weights, preset

CONFIG_ERRORS = (OSError, ValueError, KeyError, TypeError, ImportError, RecursionError, StrictDataclassError)
"""What transformers raises on a name, folder or config.json that it cannot use."""


def read_config(spec: ModelSpec) -> Any:
    """The config of a preset, a folder or a Hugging Face id; ModelLoadError if there is none or it is no decoder's."""
    found = preset(spec.name)
    if found:
        values = dict(found.config)
        return AutoConfig.for_model(str(values.pop("model_type")), **values)
    _check_folder(spec.name)
    try:
        config = AutoConfig.from_pretrained(
            location(spec), revision=spec.revision or "main", trust_remote_code=spec.trust_remote_code
        )
    except CONFIG_ERRORS as error:
        raise load_error(spec, error) from error
    _require_decoder(spec, config)
    return config


def location(spec: ModelSpec) -> str:
    """What transformers is given: the folder of packaged weights, or the folder if there is one, else the hub's id."""
    packaged = packaged_weights(spec)
    folder = packaged.parent if packaged else folder_of(spec.name)
    return str(folder) if folder.is_dir() else spec.name


def _check_folder(name: str) -> None:
    folder = folder_of(name)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ModelLoadError(f"model {name!r}: the folder has no config.json; give a folder made by save_pretrained")
    if name.startswith(("/", "./", "../", "~")) and not folder.is_dir():
        raise ModelLoadError(f"model {name!r}: there is no such folder; give one that holds config.json and weights")


def _require_decoder(spec: ModelSpec, config: Any) -> None:
    own_code = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    listed = own_code or type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    # BERT and its family are listed too, but read both ways unless the config makes them decoders
    two_way = type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING and getattr(config, "is_decoder", None) is False
    if not listed or two_way or config.is_encoder_decoder:
        raise ModelLoadError(
            f"model {spec.name!r}: a {config.model_type!r} model is not a decoder-only language model; "
            "give one that transformers loads with AutoModelForCausalLM, such as llama, qwen2 or gpt2"
        )


def load_error(spec: ModelSpec, error: BaseException) -> ModelLoadError:
    """One line that says what is wrong with the model and what to do about it."""
    text = str(error)
    first = first_words(text)
    if not isinstance(error, (OSError, ValueError)) or not first:
        first = f"{type(error).__name__}: {first}"
    folder = folder_of(spec.name).is_dir()
    if packaged_weights(spec):
        why = f"the weights that come with perfsuite cannot be loaded: {first}; install perfsuite again"
    elif "trust_remote_code" in text:
        why = "it brings code of its own; if you trust that code, allow it with --perf-trust-remote-code"
    elif "gated repo" in text:
        why = "access is restricted; ask for it on the model's page, then log in with: hf auth login"
    elif "ignore_mismatched_sizes" in text:
        why = "the weights do not have the shapes that config.json says; download it again"
    elif isinstance(error, SafetensorError):
        why = f"a safetensors file is broken ({first}); download it again"
    elif folder:
        why = f"the folder cannot be loaded: {first}"
    else:
        presets = ", ".join(names())
        why = f"neither a preset ({presets}) nor a folder, and as a Hugging Face id it cannot be loaded: {first}"
    return ModelLoadError(f"model {spec.name!r}: {why}")
