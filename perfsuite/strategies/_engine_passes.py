"""Owns a model's two passes as functions without a memory of their own: weights and cache come in, new states go out.

What an engine is made of. It must not know how, nor where the tensors lie that it is given.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import Module
from transformers.cache_utils import StaticLayer
from transformers.masking_utils import causal_mask_function

from perfsuite.core.errors import StrategyUnavailableError
from perfsuite.strategies._decode import last_position_only

ATTENTION = "perfsuite-engine"
"""What transformers knows our attention by: a prompt attends to itself, a later token to the cache and itself."""

_NOT_ATTENDED_WITH = ("softcap", "s_aux")
"""Options of transformers' attention that change what is computed: a cap on scores, and scores of no key."""

Outputs = tuple[Tensor, ...]
"""What a pass gives: logits of the last position [B, V], then each layer's new keys and values [B, heads, L, D]."""

_Cache: Any = transformers.Cache  # transformers is typed too loosely to be of use
_StaticLayer: Any = StaticLayer
_AttentionInterface: Any = transformers.AttentionInterface
_AttentionMaskInterface: Any = transformers.AttentionMaskInterface


class EnginePass(Module):
    """The model over a prompt (`cached` is empty) or over one more token of each row.

    Takes ids [B, L] (int64), their positions [1, L] (int64), what each layer has kept (keys, then values, of one layer
    after the other: [B, heads, length, D]) and the weights by name; gives the logits of the last position [B, V] and
    the new keys and values of each layer [B, heads, L, D] in the same order.
    """

    def __init__(self, model: Any, layers: int, length: int) -> None:
        super().__init__()
        self._place = _Place(layers)
        self._model = [model]  # in a list, so that its weights are not this module's: they come in with each call
        self._length = length
        self._keeps_logits = bool(last_position_only(model))
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters

    def forward(self, ids: Tensor, positions: Tensor, cached: list[Tensor], weights: dict[str, Tensor]) -> Outputs:
        place = self._place
        place.positions, place.cached = positions, cached
        layers = [_Layer(self._length, place, index) for index in range(len(place.fresh))]
        # A position counted on the device, as a slice from the end of an unknown length converts badly.
        last = positions[0].amax(dim=0, keepdim=True) if place.is_prompt else None
        arguments: dict[str, Any] = {"position_ids": positions} if self._takes_positions else {}
        if self._keeps_logits:
            arguments["logits_to_keep"] = 1 if last is None else last
        with _attending_through(self._model[0], place):
            output = torch.func.functional_call(
                self._model[0],
                weights,
                kwargs={
                    "input_ids": ids,
                    "past_key_values": _Cache(layers=layers),
                    "use_cache": True,
                    **arguments,
                },
            )
        fresh = [state for pair in place.fresh for state in pair]
        logits: Tensor = output.logits
        if last is not None and not self._keeps_logits:
            logits = logits.index_select(1, last)
        return (logits.squeeze(1), *fresh)


class _Place:
    """What the layers of one call share: where it is in the sequence, what came in, and what is to go out."""

    def __init__(self, layers: int) -> None:
        self.positions: Tensor = torch.empty(0)
        self.cached: list[Tensor] = []
        self.fresh: list[tuple[Tensor, ...]] = [()] * layers

    @property
    def is_prompt(self) -> bool:
        return not self.cached


class _Layer(_StaticLayer):  # type: ignore[misc]
    """One layer of a cache that keeps nothing: it hands the new states on."""

    def __init__(self, length: int, place: _Place, index: int) -> None:
        super().__init__(max_cache_len=length)
        self._place = place
        self._index = index

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """The new states; what was kept before is added where they are attended to."""
        self._place.fresh[self._index] = (key_states, value_states)
        return key_states, value_states

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many keys are kept, and the position of the first."""
        return (query_length if self._place.is_prompt else self.max_cache_len), 0

    def get_seq_length(self) -> int | Tensor:
        """The position of the first query."""
        return 0 if self._place.is_prompt else self._place.positions[0, 0]


@contextmanager
def _attending_through(model: Any, place: _Place) -> Iterator[None]:
    """Let a model attend by `place` while it is traced, and by what it had before afterwards."""
    before = model.config._attn_implementation
    _AttentionInterface.register(ATTENTION, _attention(place))
    _AttentionMaskInterface.register(ATTENTION, _mask(place))
    model.set_attn_implementation(ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _mask(place: _Place) -> Callable[..., Tensor]:
    """Which keys a query may attend to, [1, 1, L, keys] (bool); to a later token the cache only."""

    def mask(*, kv_length: int, mask_function: Callable[..., Any] = causal_mask_function, **_: Any) -> Tensor:
        queries = place.positions[0]
        keys = queries if place.is_prompt else torch.arange(kv_length, device=queries.device)
        allowed: Tensor = mask_function(0, 0, queries[:, None], keys[None, :])
        if not place.is_prompt:
            allowed = allowed & (keys[None, :] < queries[:, None])
        return allowed[None, None]

    return mask


def _attention(place: _Place) -> Callable[..., tuple[Tensor, None]]:
    def attention(
        module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, **options: Any
    ) -> tuple[Tensor, None]:
        scaling = options.get("scaling")
        peculiar = [name for name in _NOT_ATTENDED_WITH if options.get(name) is not None]
        if peculiar:
            raise StrategyUnavailableError(
                f"tensorrt: attention with {peculiar[0]!r} is not written out for engines; use --perf-strategy eager"
            )
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        if place.is_prompt:
            attended = _over_prompt(query, key, value, mask, scale)
        else:
            kept = place.cached[2 * module.layer_idx : 2 * module.layer_idx + 2]
            attended = _over_cache(query, (key, value), (kept[0], kept[1]), mask, scale)
        return attended.transpose(1, 2).contiguous(), None

    return attention


def _over_prompt(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    """[B, heads, L, D]; written out, as what torch makes of its own attention depends on the device."""
    rows, heads, tokens, width = query.shape
    families = key.shape[1]
    groups = heads // families
    # the heads that share a key are more rows of one product
    query = query.reshape(rows, families, groups * tokens, width) * scale
    scores = torch.matmul(query, key.transpose(2, 3)).reshape(rows, families, groups, tokens, tokens)
    scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)
    shares = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    attended = torch.matmul(shares.reshape(rows, families, groups * tokens, tokens), value)
    return attended.reshape(rows, heads, tokens, width)


def _over_cache(
    query: Tensor, new: tuple[Tensor, Tensor], kept: tuple[Tensor, Tensor], mask: Tensor, scale: float
) -> Tensor:
    """[B, heads, 1, D]: one softmax over scores of two origins, so that the cache is read once and never copied."""
    rows, heads, _, width = query.shape
    families = new[0].shape[1]
    query = query.view(rows, families, heads // families, width) * scale
    before = torch.matmul(query, kept[0].transpose(2, 3))
    before = torch.where(mask, before, torch.finfo(before.dtype).min)
    itself = (query * new[0]).sum(dim=-1, keepdim=True)
    shares = torch.cat((before, itself), dim=-1).softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    length = kept[0].shape[2]
    attended = torch.matmul(shares[..., :length], kept[1]) + shares[..., length:] * new[1]
    return attended.view(rows, heads, 1, width)


def weights_of(model: Any) -> dict[str, Tensor]:
    """Every weight by name, tied ones once."""
    return dict(model.named_parameters())
