"""Owns what is known of a model before anything is loaded: the presets, and how long a sequence may be.

Most presets are a shape only, their weights are drawn at random when they are loaded: for a dense model latency does
not depend on their values. The shapes are those of `config.json` in the Hugging Face repository that `Preset.source`
names. `tiny` is the embedded model: its weights are trained and come with the package (docs/tiny-model.md).
This file imports neither torch nor transformers.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from perfsuite.core import jsontext
from perfsuite.core.errors import OptionError
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.disk import explain, user_path

_LENGTH_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "n_ctx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A model's shape: `config` is what its config.json says, `source` where that was published.

    `weights` is the file that holds its trained weights; `None`: they are drawn.
    """

    name: str
    source: str
    config: Mapping[str, object]
    weights: Path | None = None


def _llama(**changes: object) -> Mapping[str, object]:
    shared = {
        "model_type": "llama",
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return MappingProxyType({**shared, **changes})


def _embedded(name: str) -> Preset:
    """The model that lies in a folder of this package, config.json and weights, as any Hugging Face folder does."""
    folder = Path(__file__).parent / name
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return Preset(name=name, source="perfsuite", config=MappingProxyType(config), weights=folder / "model.safetensors")


_TINY = _embedded("tiny")

_TINYLLAMA = Preset(
    name="tinyllama-1.1b",
    source="TinyLlama/TinyLlama-1.1B-Chat-v1.0",
    config=_llama(
        vocab_size=32000,
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=4,
        max_position_embeddings=2048,
    ),
)

_LLAMA_2_7B = Preset(
    name="llama-2-7b",
    source="meta-llama/Llama-2-7b-hf",
    config=_llama(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        max_position_embeddings=4096,
    ),
)

_LLAMA_3_8B = Preset(
    name="llama-3-8b",
    source="meta-llama/Meta-Llama-3-8B",
    config=_llama(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=8192,
        rope_theta=500000.0,
        bos_token_id=128000,
        eos_token_id=128001,
    ),
)

_QWEN_2_5 = Preset(
    name="qwen2.5-0.5b",
    source="Qwen/Qwen2.5-0.5B",
    config=MappingProxyType(
        {
            "model_type": "qwen2",
            "vocab_size": 151936,
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "hidden_act": "silu",
            "initializer_range": 0.02,
            "max_position_embeddings": 32768,
            "max_window_layers": 24,
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0,
            "sliding_window": 32768,
            "use_sliding_window": False,
            "tie_word_embeddings": True,
            "bos_token_id": 151643,
            "eos_token_id": 151643,
        }
    ),
)

_MISTRAL = Preset(
    name="mistral-7b",
    source="mistralai/Mistral-7B-v0.3",
    config=MappingProxyType(
        {
            "model_type": "mistral",
            "vocab_size": 32768,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "hidden_act": "silu",
            "initializer_range": 0.02,
            "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-05,
            "rope_theta": 1000000.0,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }
    ),
)

_PRESETS = MappingProxyType(
    {preset.name: preset for preset in (_TINY, _QWEN_2_5, _TINYLLAMA, _LLAMA_2_7B, _MISTRAL, _LLAMA_3_8B)}
)


def preset(name: str) -> Preset | None:
    """The preset of that name, `None` if there is none."""
    return _PRESETS.get(name)


def packaged_weights(spec: ModelSpec) -> Path | None:
    """The file of trained weights that comes with the package; `None` for all other models and for dummy weights."""
    found = preset(spec.name)
    return found.weights if found and spec.load_format != "dummy" else None


def names() -> tuple[str, ...]:
    """Every preset, smallest first."""
    return tuple(_PRESETS)


def positions_of(name: str) -> int | None:
    """The longest sequence of a preset or a local folder, without loading anything; `None` where it is unknown."""
    found = preset(name)
    return positions_in(found.config if found else _folder_config(folder_of(name)))


def vocabulary_of(name: str) -> int | None:
    """The number of token ids of a preset or a local folder, without loading anything; `None` where it is unknown."""
    found = preset(name)
    config = found.config if found else _folder_config(folder_of(name))
    text = config.get("text_config")
    sizes = [config.get("vocab_size"), text.get("vocab_size") if isinstance(text, Mapping) else None]
    return next((size for size in sizes if isinstance(size, int) and size > 0), None)


def ends_of(name: str) -> tuple[int, ...]:
    """The ids that end a sequence of a preset or a local folder by its config.json; none where it says nothing."""
    found = preset(name)
    config = found.config if found else _folder_config(folder_of(name))
    text = config.get("text_config")
    ends = [config.get("eos_token_id"), text.get("eos_token_id") if isinstance(text, Mapping) else None]
    said = next((end for end in ends if end is not None), ())
    return tuple(end for end in (said if isinstance(said, (list, tuple)) else (said,)) if isinstance(end, int))


def folder_of(name: str) -> Path:
    """The folder that a model's name may be, there or not; OptionError if it can be none."""
    try:
        return user_path(name)
    except OSError as error:
        told = f"model {name[:80]!r}: {explain(error)}"
        raise OptionError(f"{told}; give a preset, a Hugging Face id or a folder") from error


def check_positions(name: str, positions: int | None, workloads: Iterable[Workload]) -> None:
    """OptionError if the longest workload takes more positions than the model has (`None`: no limit known)."""
    longest = max(workloads, key=lambda workload: workload.total_tokens, default=None)
    if longest and positions is not None and longest.total_tokens > positions:
        raise OptionError(
            f"model {name!r}: {longest.prompt_tokens} prompt and {longest.output_tokens} output tokens take "
            f"{longest.total_tokens} positions, the model has {positions}; shorten the prompts or the output"
        )


def positions_in(config: Mapping[str, object]) -> int | None:
    """The longest sequence that a config.json allows (its text part, if it has several); `None` if it names none."""
    text = config.get("text_config")
    lengths = [config.get(key) for key in _LENGTH_KEYS] + ([positions_in(text)] if isinstance(text, Mapping) else [])
    return next((length for length in lengths if isinstance(length, int) and length > 0), None)


def _folder_config(folder: Path) -> Mapping[str, object]:
    try:
        config = jsontext.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # loading the folder says what is wrong with it
    return config if isinstance(config, dict) else {}
