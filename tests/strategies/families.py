"""Owns small random models of several architectures."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM

_DEEP = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_GROUPED = _DEEP | {"num_key_value_heads": 2}
_SHAPES = {
    "llama": _GROUPED,
    "qwen2": _GROUPED | {"tie_word_embeddings": True},
    "mistral": _GROUPED | {"head_dim": 8, "sliding_window": 16},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "gemma": _GROUPED | {"head_dim": 8},
    "gemma3_text": _GROUPED
    | {"head_dim": 8, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
    | {"tie_word_embeddings": False},
    "opt": {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    | {"word_embed_proj_dim": 32},
    "mamba": {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4},
}

STATIC = ("llama", "qwen2", "mistral", "gpt2", "gemma", "gemma3_text")
"""Those whose cache can have a fixed length and whose passes ask the device for nothing."""
FAMILIES = (*STATIC, "opt")


def small_model(kind):
    """A model of 64 positions and 300 tokens, drawn from a fixed seed so that its answers are varied."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 300, "max_position_embeddings": 64, "initializer_range": 0.3, "pad_token_id": 0}
    ends = {"bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(kind, **(sizes | ends | _SHAPES[kind]))
    return AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
