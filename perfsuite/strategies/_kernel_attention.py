"""Owns attention by kernels of our own: over what a static cache holds so far, and over a short prompt.

transformers' own decode step reads all of a static cache. It must not know who runs the model. Triton is imported
where a kernel is first needed.
"""

from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import functional

from perfsuite.strategies._static import ATTENTION as STATIC

ATTENTION = "perfsuite-kernels"
"""What transformers knows this attention by."""
KNOWN_LAYERS = frozenset({"full_attention", "sliding_attention"})
"""What transformers calls the layers that attend to all, or to the last so many, positions."""
ALTERING = ("softcap", "s_aux")
"""What transformers calls that which some models do to scores besides."""

_AttentionInterface: Any = transformers.AttentionInterface
_AttentionMaskInterface: Any = transformers.AttentionMaskInterface


def use_kernel_attention(model: Any) -> None:
    """Let a model that has our static attention attend by the kernels; any other model stays as it is."""
    layers = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
    if model.config._attn_implementation == STATIC and layers <= KNOWN_LAYERS:
        _AttentionInterface.register(ATTENTION, _attend)
        _AttentionMaskInterface.register(ATTENTION, _AttentionMaskInterface()[STATIC])
        model.set_attn_implementation(ATTENTION)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **others: Any
) -> tuple[Tensor, Tensor | None]:
    """What transformers' sdpa gives, [B, L, heads, D]; it is asked itself where no kernel fits."""
    position: Any = others.get("position_ids")
    scale = others.get("scaling") or query.shape[-1] ** -0.5
    if _fits(query) and not any(others.get(name) is not None for name in ALTERING):
        if query.shape[2] > 1 and attention_mask is None:
            return _over_prompt(query, key, value, scale), None
        if query.shape[2] == 1 and key.shape[2] > 1 and position is not None and position.numel() == 1:
            window = others.get("sliding_window") or 0
            return _over_cache(query, key, value, position.reshape(1), scale, window).transpose(1, 2), None
    attended: tuple[Tensor, Tensor | None] = _AttentionInterface()[STATIC](
        module, query, key, value, attention_mask, **others
    )
    return attended


def _fits(query: Tensor) -> bool:
    size = query.shape[-1]
    return query.is_cuda and 16 <= size <= 256 and size & (size - 1) == 0 and query.dtype != torch.float32


@torch.library.custom_op("perfsuite::cache_attention", mutates_args=())
def _over_cache(  # noqa: PLR0917
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    position: Tensor,
    scale: float,
    window: int,
) -> Tensor:
    """Attention of queries [B, heads, 1, D] over the cache [B, groups, L, D] up to `position`, on the device."""
    if not query.is_cuda:
        return plainly_over_cache(query, keys, values, position, scale, window)
    from perfsuite.strategies import _triton_attention

    return _triton_attention.attend(query, keys, values, position, scale, window)


@_over_cache.register_fake
def _over_cache_shape(query: Tensor, *_: object) -> Tensor:
    return query.new_empty(query.shape)


@torch.library.custom_op("perfsuite::prompt_attention", mutates_args=())
def _over_prompt(query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Causal attention of queries [B, heads, L, D] over as many keys and values [B, groups, L, D]: [B, L, heads, D]."""
    return attend_over_prompt(query, keys, values, scale)


@_over_prompt.register_fake
def _over_prompt_shape(query: Tensor, *_: object) -> Tensor:
    batch, heads, length, size = query.shape
    return query.new_empty((batch, length, heads, size))


def attend_over_prompt(query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Causal attention of queries [B, heads, L, D] over as many keys and values [B, groups, L, D]: [B, L, heads, D]."""
    if query.is_cuda:
        from perfsuite.strategies import _triton_causal

        if _triton_causal.fits(query, keys, values):
            return _triton_causal.attend(query, keys, values, scale)
    attended = functional.scaled_dot_product_attention(
        query, keys, values, is_causal=True, scale=scale, enable_gqa=query.shape[1] != keys.shape[1]
    )
    return attended.transpose(1, 2).contiguous()


def plainly_over_cache(  # noqa: PLR0917
    query: Tensor, keys: Tensor, values: Tensor, position: Tensor, scale: float, window: int
) -> Tensor:
    """What our kernel gives for queries [B, heads, 1, D] over the cache up to `position`, by torch's own."""
    place = torch.arange(keys.shape[2], device=query.device)
    seen = (place <= position) & (place > position - (window or len(place) + 1))
    return functional.scaled_dot_product_attention(
        query, keys, values, seen[None, :], scale=scale, enable_gqa=query.shape[1] != keys.shape[1]
    )
