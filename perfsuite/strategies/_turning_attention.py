"""Owns attention that turns queries and keys by their positions and keeps keys and values itself, in a traced pass.

As transformers writes it these are three things, one after the other: rotary embedding, cache, attention. A compiler
makes kernels of each, which read and write all of it again. It must not know who compiles the pass.
"""

import operator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from perfsuite.strategies._kernel_attention import attend_over_prompt, plainly_over_cache
from perfsuite.strategies._traced import inputs_of, value_of

_OVER_PROMPT, _OVER_CACHE = "perfsuite.prompt_attention.", "perfsuite.cache_attention."
"""How a traced pass calls our attention."""


def turned(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """States [B, heads, L, D] turned half by half, by angles [B or 1, 1, L, D] (Su et al. 2021)."""
    first, second = states.chunk(2, dim=-1)
    return states * cosines + torch.cat((-second, first), dim=-1) * sines


@torch.library.custom_op("perfsuite::turning_prompt_attention", mutates_args=("kept_keys", "kept_values"))
def _over_prompt(  # noqa: PLR0917
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    cosines: Tensor,
    sines: Tensor,
    kept_keys: Tensor,
    kept_values: Tensor,
    scale: float,
) -> Tensor:
    """Causal attention of queries [B, heads, L, D] over keys and values [B, groups, L, D], kept: [B, L, heads, D]."""
    length = query.shape[2]
    if _fits(query, keys, values, cosines, sines):
        from perfsuite.strategies import _triton_rotation, _triton_turning

        inputs = (query, keys, values, cosines.squeeze(1), sines.squeeze(1), kept_keys, kept_values)
        if _triton_turning.fits(query):
            return _triton_turning.turn_keep_and_attend(*inputs, scale)
        query = _triton_rotation.turn_and_keep(*inputs)
        keys, values = kept_keys[:, :, :length], kept_values[:, :, :length]
    else:
        query, keys = turned(query, cosines, sines), turned(keys, cosines, sines)
        kept_keys[:, :, :length].copy_(keys)
        kept_values[:, :, :length].copy_(values)
    return attend_over_prompt(query, keys, values, scale)


@_over_prompt.register_fake
def _over_prompt_shape(query: Tensor, *_: object) -> Tensor:
    batch, heads, length, size = query.shape
    return query.new_empty((batch, length, heads, size))


@torch.library.custom_op("perfsuite::turning_cache_attention", mutates_args=("kept_keys", "kept_values"))
def _over_cache(  # noqa: PLR0917
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    cosines: Tensor,
    sines: Tensor,
    kept_keys: Tensor,
    kept_values: Tensor,
    position: Tensor,
    scale: float,
    window: int,
) -> Tensor:
    """Attention of queries [B, heads, 1, D] over the cache up to `position`, where these keys and values are kept."""
    if _fits(query, keys, values, cosines, sines):
        from perfsuite.strategies import _triton_attention

        angles = (cosines.squeeze(1), sines.squeeze(1))
        return _triton_attention.turn_keep_and_attend(
            query, (keys, values), angles, kept_keys, kept_values, position, scale, window
        )
    kept_keys.index_copy_(2, position, turned(keys, cosines, sines))
    kept_values.index_copy_(2, position, values)
    return plainly_over_cache(turned(query, cosines, sines), kept_keys, kept_values, position, scale, window)


@_over_cache.register_fake
def _over_cache_shape(query: Tensor, *_: object) -> Tensor:
    return query.new_empty(query.shape)


def _fits(*states: Tensor) -> bool:
    """Whether our kernels can do it: on a GPU, with channels that lie in one piece."""
    return all(each.is_cuda and each.stride(-1) == 1 for each in states)


class _Turn(NamedTuple):
    """What a node of a traced pass turned, and by what."""

    states: Node
    cosines: Node
    sines: Node


class _Copy(NamedTuple):
    """A node of a traced pass that copies states into a cache."""

    node: Node
    cache: Node


def turn_within_attention(traced: GraphModule) -> int:
    """Let attention turn and keep what it attends to, where nobody else reads that; in how many layers it does.

    Where it does not, it is left to the compiler. `traced` is what Dynamo hands to a backend.
    """
    found = 0
    for node in list(traced.graph.nodes):
        if str(node.target).startswith(_OVER_PROMPT):
            found += _join_over_prompt(node)
        elif str(node.target).startswith(_OVER_CACHE):
            found += _join_over_cache(node)
    traced.recompile()
    return found


def _join_over_prompt(attention: Node) -> bool:
    query, keys, values, scale = attention.args
    copies = [_copy_to_the_front(each, attention) for each in (keys, values)]
    return _join(attention, query, keys, values, copies, torch.ops.perfsuite.turning_prompt_attention, (scale,))


def _join_over_cache(attention: Node) -> bool:
    query, kept_keys, kept_values, *others = attention.args
    copies = [_copy_to_a_position(each) for each in (kept_keys, kept_values)]
    keys, values = (copy.node.args[3] if copy else None for copy in copies)
    return _join(attention, query, keys, values, copies, torch.ops.perfsuite.turning_cache_attention, tuple(others))


def _join(  # noqa: PLR0917
    attention: Node, query: Any, keys: Any, values: Any, copies: list[_Copy | None], joined: Any, others: Any
) -> bool:
    """Replace the attention and the copies, `others` being what it takes besides; the turns have no reader then."""
    (of_keys, of_values), query_turn, key_turn = copies, _turn(query), _turn(keys)
    if of_keys is None or of_values is None or query_turn is None or key_turn is None:
        return False
    is_same_turn = query_turn[1:] == key_turn[1:]
    if not is_same_turn or len(query.users) != 1 or set(keys.users) - {attention, of_keys.node}:
        return False
    inputs = (query_turn.states, key_turn.states, values, *query_turn[1:], of_keys.cache, of_values.cache, *others)
    with attention.graph.inserting_before(attention):
        attention.replace_all_uses_with(attention.graph.call_function(joined.default, inputs))
    for node in (attention, of_keys.node, of_values.node):
        node.graph.erase_node(node)
    return True


def _copy_to_the_front(states: Any, attention: Node) -> _Copy | None:
    """The copy of states to the front of a cache; `None` unless there is one, of which nobody knows."""
    copies = [user for user in states.users if user is not attention and user.target == "copy_" and not user.users]
    places = [copy.args[0] for copy in copies]
    if len(places) != 1 or places[0].target is not operator.getitem or len(places[0].users) != 1:
        return None
    cache, where = places[0].args
    every = slice(None, None, None)
    is_front = isinstance(where, tuple) and where[:2] == (every, every) and where[2].start is None
    return _Copy(copies[0], cache) if is_front else None


def _copy_to_a_position(cache: Any) -> _Copy | None:
    """The copy of states to a position of a cache; `None` unless there is one, of which nobody knows."""
    copies = [user for user in cache.users if user.target == "index_copy_" and user.args[:2] == (cache, 2)]
    return _Copy(copies[0], cache) if len(copies) == 1 and not copies[0].users else None


def _turn(node: Any) -> _Turn | None:
    """What a node turned, if it did so as transformers does: states * cosines + (-second half, first half) * sines."""
    plain, crossed = inputs_of(node, operator.add)
    states, cosines = inputs_of(plain, operator.mul)
    halves, sines = inputs_of(crossed, operator.mul)
    (parts,) = inputs_of(halves, torch.cat, 1)
    minus, first = parts if isinstance(parts, tuple | list) and len(parts) == 2 else (None, None)
    (second,) = inputs_of(minus, operator.neg, 1)
    half = _size(states) // 2
    if not half or _size(cosines) != 2 * half or _size(sines) != 2 * half or halves.kwargs.get("dim") != -1:
        return None
    is_half = _is_share(first, states, slice(None, half, None)) and _is_share(second, states, slice(half, None, None))
    return _Turn(states, cosines, sines) if is_half else None


def _is_share(node: Any, states: Any, part: slice) -> bool:
    return inputs_of(node, operator.getitem) == (states, (Ellipsis, part))


def _size(node: Any) -> int:
    """How long the last dimension is; 0 if that is unknown."""
    value = value_of(node)
    size = value.shape[-1] if value is not None and value.dim() == 4 else 0
    return size if isinstance(size, int) else 0
