"""Owns a model's passes over memory that never moves: a key-value cache of fixed length, and positions on the device.

Nothing in a pass asks the device for a value or depends on one, so that it can be captured and replayed. A prefill
attends causally over its prompt alone; a decode step attends over the whole cache with what lies ahead masked.
transformers' own static layers are not used as they are: they count in device tensors that only a fresh cache has at
zero, and a sliding window's count is a number on the host, which a captured graph would repeat for ever.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.cache_utils import StaticLayer, StaticSlidingWindowLayer

from perfsuite.core.errors import StrategyUnavailableError
from perfsuite.strategies._decode import last_position_only

ATTENTION = "perfsuite-static"
"""What transformers knows our attention by: its own sdpa, but for the mask of a prefill."""

Pass = Callable[[Tensor], Tensor]
Compile = Callable[[Pass], Pass]
"""Makes of a pass (logits [B, V] for ids [B, L]) what is run in its place."""

_Cache: Any = transformers.Cache  # transformers is typed too loosely to be of use
_StaticLayer: Any = StaticLayer
_AttentionInterface: Any = transformers.AttentionInterface
_AttentionMaskInterface: Any = transformers.AttentionMaskInterface


def uncompiled(run: Pass) -> Pass:
    """The pass itself."""
    return run


def require_static_cache(model: Any) -> None:
    """StrategyUnavailableError if the model's cache cannot have a fixed length."""
    kind = model.config.model_type
    attention = model.config._attn_implementation
    if not getattr(model, "_can_compile_fullgraph", False):
        raise StrategyUnavailableError(
            f"a {kind!r} model cannot keep its cache at a fixed length (transformers does not declare it able to); "
            "use --perf-strategy eager"
        )
    if attention not in ("sdpa", "eager", ATTENTION):
        raise StrategyUnavailableError(
            f"attention {attention!r} cannot be masked over a cache of fixed length; load the model with sdpa"
        )
    layer_count(model)


def use_static_attention(model: Any) -> None:
    """Let a model that attends by sdpa skip the mask of a prefill, which transformers builds during a capture."""
    if model.config._attn_implementation == "sdpa" and model._can_set_attn_implementation():
        _AttentionInterface.register(ATTENTION, _AttentionInterface()["sdpa"])
        _AttentionMaskInterface.register(ATTENTION, _static_mask)
        model.set_attn_implementation(ATTENTION)


class StaticForward:
    """A Forward over a cache of `length` positions, for a batch of whatever size comes first.

    `compile_pass` is asked once for each of its two passes.
    """

    def __init__(self, model: Any, length: int, compile_pass: Compile = uncompiled) -> None:
        self.length = length
        self._place = _Place(model.device)
        self._layers = [_Layer(length, self._place) for _ in range(layer_count(model))]
        passes = _Passes(model, self._layers, self._place, length)
        self._over_prompt, self._over_cache = compile_pass(passes.over_prompt), compile_pass(passes.over_cache)

    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def prefill(self, ids: Tensor) -> Tensor:
        self._place.is_prompt = True
        logits = self._over_prompt(ids)
        self._place.position.fill_(ids.shape[1])
        return logits

    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def decode(self, ids: Tensor) -> Tensor:
        self._place.is_prompt = False
        logits = self._over_cache(ids)
        self._place.position.add_(1)
        return logits

    def rewind(self) -> None:
        """Go back to the first position, so that decode steps can be tried out before any prefill."""
        self._place.position.zero_()

    @property
    def cache_bytes(self) -> int:
        """What the cache takes once each of its layers is there; 0 before the first pass."""
        first = self._layers[0]
        held: tuple[Tensor, ...] = (first.keys, first.values) if first.is_initialized else ()
        return len(self._layers) * sum(tensor.numel() * tensor.element_size() for tensor in held)


class _Passes:
    """The model over a prompt and over what is in its cache; apart from the Forward, which no cycle keeps alive.

    Nothing on the host changes from one pass to the next, so that each is compiled once.
    """

    def __init__(self, model: Any, layers: "list[_Layer]", place: "_Place", length: int) -> None:
        self._model = model
        self._place = place
        self._cache = _Cache(layers=layers)
        self._prompt_positions = torch.arange(length, device=model.device).unsqueeze(0)
        self._limit = last_position_only(model)
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters

    def over_prompt(self, ids: Tensor) -> Tensor:
        return self._logits(ids, self._prompt_positions[:, : ids.shape[1]])

    def over_cache(self, ids: Tensor) -> Tensor:
        return self._logits(ids, self._place.position.unsqueeze(0))

    def _logits(self, ids: Tensor, positions: Tensor) -> Tensor:
        # Left to itself, the model would ask the cache how far it is, on the host.
        place = {"position_ids": positions} if self._takes_positions else {}
        output = self._model(input_ids=ids, past_key_values=self._cache, use_cache=True, **place, **self._limit)
        logits: Tensor = output.logits[:, -1]
        return logits


class _Place:
    """Where in the sequence all layers of a cache are: a position [1] (int64) on the device."""

    def __init__(self, device: torch.device) -> None:
        self.is_prompt = True
        self.position = torch.zeros(1, dtype=torch.int64, device=device)


class _Layer(_StaticLayer):  # type: ignore[misc]
    """One layer's keys and values, [B, heads, length, D], zero at first; sliding windows are left to the mask."""

    def __init__(self, length: int, place: _Place) -> None:
        super().__init__(max_cache_len=length)
        self._place = place

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Keep the new states; give those to attend over."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self._place.is_prompt:
            self.keys[:, :, : key_states.shape[2]].copy_(key_states)
            self.values[:, :, : value_states.shape[2]].copy_(value_states)
            return key_states, value_states
        self.keys.index_copy_(2, self._place.position, key_states)
        self.values.index_copy_(2, self._place.position, value_states)
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many keys `update` gives, and the position of the first."""
        return (query_length if self._place.is_prompt else self.max_cache_len), 0

    def get_seq_length(self) -> int | Tensor:
        """The position of the first query."""
        return 0 if self._place.is_prompt else self._place.position[0]


def _static_mask(
    *,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    allow_is_causal_skip: bool = True,
    **others: Any,
) -> Tensor | None:
    """No mask where causal attention over the prompt is all there is to it; else the mask of sdpa, built in full.

    transformers would leave it out as well, except during a capture, and decide by a value on the device.
    """
    is_prompt = isinstance(q_offset, int) and q_offset == 0 and q_length == kv_length
    fits_window = local_size is None or q_length <= local_size
    if allow_is_causal_skip and is_prompt and fits_window and attention_mask is None:
        return None
    mask: Tensor = _AttentionMaskInterface()["sdpa"](
        q_length=q_length,
        kv_length=kv_length,
        q_offset=q_offset,
        attention_mask=attention_mask,
        local_size=local_size,
        allow_is_causal_skip=False,
        **others,
    )
    return mask


def layer_count(model: Any) -> int:
    """How many layers keep keys and values; StrategyUnavailableError if some keep anything else."""
    try:
        layers = transformers.StaticCache(config=model.config, max_cache_len=1).layers
    except KeyError as error:
        layers = [error.args[0]]
    foreign = [layer for layer in layers if type(layer) not in (StaticLayer, StaticSlidingWindowLayer)]
    if foreign:
        raise StrategyUnavailableError(
            f"a {model.config.model_type!r} model has layers whose state is not a cache of keys and values "
            f"({foreign[0]}); use --perf-strategy eager"
        )
    return len(layers)
