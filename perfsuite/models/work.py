"""Owns how a model in memory tells what its passes have to read and compute: from its tensors and its config.

Whatever cannot be known for certain to be read or computed is left out, so that a floor stays a floor.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from perfsuite.core.work import Attention, ModelWork
from perfsuite.models.storage import bytes_of

FULL, SLIDING = "full_attention", "sliding_attention"
"""What transformers calls the layers whose cache is known here; chunked and linear ones are left out."""


def work_of(model: Any, dtype: torch.dtype) -> ModelWork | None:
    """What a pass of a causal language model needs; `dtype` is that of its key-value cache.

    `None` for a mixture of experts, which reads some of its weights only: which ones, nobody knows beforehand.
    """
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    if _has_experts(decoder):
        return None
    output = {} if head is None else {id(tensor): tensor for tensor in chain(head.parameters(), head.buffers())}
    found = {id(tensor): tensor for module in decoder.modules() for tensor in _weights(module)}
    body = {key: tensor for key, tensor in found.items() if key not in output}
    last = {id(tensor) for module in _last_layer(model) for tensor in _weights(module)}
    of_one_token = output | {key: tensor for key, tensor in body.items() if key in last}
    return ModelWork(
        weight_bytes=bytes_of((body | output).values()),
        token_flops=sum(2 * tensor.numel() for key, tensor in body.items() if tensor.dim() == 2 and key not in last),
        head_flops=sum(2 * tensor.numel() for tensor in of_one_token.values() if tensor.dim() == 2),
        attention=_attention(model.config.get_text_config(), dtype.itemsize),
    )


def _last_layer(model: Any) -> Iterator[nn.Module]:
    """The modules of the last layer, which has to be computed for the last token only, but for its keys and values."""
    count = model.config.get_text_config().num_hidden_layers
    stacks = (each for each in model.get_decoder().modules() if isinstance(each, nn.ModuleList) and len(each) == count)
    for layers in stacks:
        yield from layers[-1].modules()
        return


def _has_experts(decoder: nn.Module) -> bool:
    names = chain.from_iterable((name, type(module).__name__) for name, module in decoder.named_modules())
    return any("expert" in name.lower() for name in names)


def _weights(module: nn.Module) -> Iterator[Tensor]:
    """A module's own tensors that a pass reads whole: no table that it looks up, no mask, nothing made on the way.

    Quantized weights can be buffers; those are part of the checkpoint and sit in modules without children.
    """
    if isinstance(module, nn.Embedding):
        return
    yield from module.parameters(recurse=False)
    if next(module.children(), None) is None:
        stored = set(module._buffers) - module._non_persistent_buffers_set
        yield from (buffer for name, buffer in module.named_buffers(recurse=False) if name in stored)


def _attention(config: Any, itemsize: int) -> tuple[Attention, ...]:
    """The layers by kind; none where the cache does not hold the keys and values of heads."""
    heads = getattr(config, "num_attention_heads", None)
    if not isinstance(heads, int) or getattr(config, "kv_lora_rank", None):
        return ()
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    cached_heads = getattr(config, "num_key_value_heads", None) or heads
    return tuple(
        Attention(
            layers=layers, kv_bytes=2 * cached_heads * size * itemsize, pair_flops=4 * heads * size, window=window
        )
        for window, layers in _windows(config).items()
    )


def _windows(config: Any) -> Counter[int | None]:
    """How many layers attend over which window, `None` for all positions."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None) or [SLIDING if window else FULL] * config.num_hidden_layers
    seen = (window if kind == SLIDING else None for kind in kinds if kind in (FULL, SLIDING))
    return Counter(seen)
