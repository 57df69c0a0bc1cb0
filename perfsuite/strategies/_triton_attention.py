"""Owns the Triton kernels of a decode step's attention: over what a cache of fixed length holds so far, and no more.

The cache is cut into stretches that are attended to side by side, each with a softmax of its own; whichever block of a
head ends last puts them together (flash-decoding, Dao et al. 2023). No mask is read: the position on the device says
how far the cache is full.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from perfsuite.strategies._overlap import overlaps
from perfsuite.strategies._triton_overlap import begin_dependents

_SHORT, _STRETCH, _STRETCH_OF_SHORT = 2048, 128, 64  # positions; more stretches occupy more of the device
_known_arrivals: dict[tuple[torch.device, int], Tensor] = {}


def attend(query: Tensor, keys: Tensor, values: Tensor, position: Tensor, scale: float, window: int) -> Tensor:
    """Attention of queries [B, heads, 1, D] at `position` ([1], int64) over a cache [B, groups, L, D]: like them.

    Each query sees the last `window` positions up to its own; 0 is all of them.
    """
    query = query.contiguous()
    return _attend(query, (query,) * 4, False, keys, values, position, scale, window)


def turn_keep_and_attend(
    query: Tensor,
    fresh: tuple[Tensor, Tensor],
    angles: tuple[Tensor, Tensor],
    keys: Tensor,
    values: Tensor,
    position: Tensor,
    scale: float,
    window: int,
) -> Tensor:
    """The same, of queries that are turned before, with the fresh keys, turned as well, and values kept at `position`.

    `fresh` are keys and values [B, groups, 1, D], `angles` cosines and sines [B or 1, 1, D].
    """
    batch, size = query.shape[0], query.shape[-1]
    cosines, sines = (each.expand(batch, 1, size).contiguous() for each in angles)
    fresh_keys, fresh_values = (each.contiguous() for each in fresh)
    of_position = (fresh_keys, fresh_values, cosines, sines)
    return _attend(query.contiguous(), of_position, True, keys, values, position, scale, window)


def _attend(
    query: Tensor,
    fresh: tuple[Tensor, ...],
    turns: bool,
    keys: Tensor,
    values: Tensor,
    position: Tensor,
    scale: float,
    window: int,
) -> Tensor:
    batch, heads, _, size = query.shape
    groups, length = keys.shape[1], keys.shape[2]
    positions = _STRETCH_OF_SHORT if length <= _SHORT else _STRETCH
    stretches = triton.cdiv(length, positions)
    out = torch.empty_like(query)  # contiguous, as the query is
    partial = query.new_empty((batch * heads, stretches, size), dtype=torch.float32)
    scales = query.new_empty((batch * heads, stretches, 2), dtype=torch.float32)
    overlap = overlaps(query.device)
    _stretch[(batch * heads, stretches)](
        query, *fresh, keys, values, position, partial, scales, _arrivals(query.device, batch * heads), out,
        scale, window, length, stretches, heads, heads // groups, size, positions, triton.next_power_of_2(stretches),
        turns, overlap, num_warps=4, launch_pdl=overlap,
    )  # fmt: skip
    return out


def _arrivals(device: torch.device, heads: int) -> Tensor:
    """How many blocks of each head have ended: zeros, as every kernel leaves them.

    The kernels of a process that have as many heads share them, which run one after the other. They outlive whoever
    captures. What a capture takes is its own, and is zeroed at each replay.
    """
    found = _known_arrivals.get((device, heads))
    if found is None:
        found = torch.zeros(heads, dtype=torch.int32, device=device)
        if not torch.cuda.is_current_stream_capturing():
            _known_arrivals[device, heads] = found
    return found


@triton.jit
def _turned(states, cosines, sines, SIZE: tl.constexpr):
    """A state [D] turned half by half."""
    channel = tl.arange(0, SIZE)
    other = tl.load(states + (channel + SIZE // 2) % SIZE).to(tl.float32)
    other = tl.where(channel < SIZE // 2, -other, other)
    state = tl.load(states + channel).to(tl.float32)
    turned = state * tl.load(cosines + channel).to(tl.float32) + other * tl.load(sines + channel).to(tl.float32)
    return turned.to(states.dtype.element_ty)


@triton.jit
def _stretch(
    query, fresh_keys, fresh_values, cosines, sines, keys, values, position, partial, scales, arrivals, out,
    scale, window, length, stretches, heads,
    SHARE: tl.constexpr, SIZE: tl.constexpr, STRETCH: tl.constexpr, STRETCHES: tl.constexpr,
    TURNS: tl.constexpr, OVERLAPS: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0)
    stretch = tl.program_id(1)
    if OVERLAPS:
        begin_dependents()
    last = tl.load(position)
    channel = tl.arange(0, SIZE)
    place = stretch * STRETCH + tl.arange(0, STRETCH)
    place_of_result = head * stretches + stretch
    seen = place <= last
    if window > 0:
        seen = seen & (place > last - window)
    at = ((head // SHARE).to(tl.int64) * length + place)[:, None] * SIZE + channel[None, :]
    if TURNS:
        angle = (head // heads) * SIZE
        group = head // SHARE
        states = _turned(query + head * SIZE, cosines + angle, sines + angle, SIZE)
        fresh_key = _turned(fresh_keys + group * SIZE, cosines + angle, sines + angle, SIZE)
        fresh_value = tl.load(fresh_values + group * SIZE + channel)
        before = seen & (place < last)  # no block reads what another one keeps
        is_last = (place == last)[:, None]
        key = tl.load(keys + at, mask=before[:, None], other=0.0)
        value = tl.load(values + at, mask=before[:, None], other=0.0)
        key = tl.where(is_last, fresh_key[None, :], key)
        value = tl.where(is_last, fresh_value[None, :], value)
        if head % SHARE == 0:
            tl.store(keys + at, key, mask=is_last)
            tl.store(values + at, value, mask=is_last)
    else:
        states = tl.load(query + head * SIZE + channel)
        key = tl.load(keys + at, mask=seen[:, None], other=0.0)
        value = tl.load(values + at, mask=seen[:, None], other=0.0)
    score = tl.sum(key.to(tl.float32) * (states.to(tl.float32) * scale)[None, :], 1)
    score = tl.where(seen, score, -1e30)
    largest = tl.max(score, 0)
    weight = tl.where(seen, tl.exp(score - largest), 0.0)
    tl.store(partial + place_of_result * SIZE + channel, tl.sum(weight[:, None] * value.to(tl.float32), 0))
    tl.store(scales + place_of_result * 2, largest)
    tl.store(scales + place_of_result * 2 + 1, tl.sum(weight, 0))
    tl.debug_barrier()  # all threads of the block have written before one says so
    if tl.atomic_add(arrivals + head, 1, sem="acq_rel", scope="gpu") == stretches - 1:
        tl.store(arrivals + head, 0)
        _put_together(partial, scales, out, head, stretches, SIZE, STRETCHES)


@triton.jit
def _put_together(partial, scales, out, head, stretches, SIZE: tl.constexpr, STRETCHES: tl.constexpr):
    """What the blocks of a head found; it comes from the cache that all share."""
    channel = tl.arange(0, SIZE)
    stretch = tl.arange(0, STRETCHES)
    inside = stretch < stretches
    at = head * stretches + stretch
    largest = tl.load(scales + at * 2, mask=inside, other=-1e30, cache_modifier=".cg")
    total = tl.load(scales + at * 2 + 1, mask=inside, other=0.0, cache_modifier=".cg")
    weight = tl.exp(largest - tl.max(largest, 0))
    place = at[:, None] * SIZE + channel[None, :]
    part = tl.load(partial + place, mask=inside[:, None], other=0.0, cache_modifier=".cg")
    mean = tl.sum(part * weight[:, None], 0) / tl.sum(total * weight, 0)
    tl.store(out + head * SIZE + channel, mean.to(out.dtype.element_ty))
