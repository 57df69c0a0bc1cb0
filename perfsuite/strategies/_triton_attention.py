"""Owns the Triton kernels of a decode step's attention: over what a cache of fixed length holds so far, and no more.

The cache is cut into stretches that are attended to side by side, each with a softmax of its own, and then put
together (flash-decoding, Dao et al. 2023). No mask is read: the position on the device says how far the cache is full.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from perfsuite.strategies._overlap import overlaps
from perfsuite.strategies._triton_overlap import begin_dependents

_SHORT, _STRETCH, _STRETCH_OF_SHORT = 2048, 128, 64  # positions; more stretches occupy more of the device


def attend(query: Tensor, keys: Tensor, values: Tensor, position: Tensor, scale: float, window: int) -> Tensor:
    """Attention of queries [B, heads, 1, D] at `position` ([1], int64) over a cache [B, groups, L, D]: like them.

    Each query sees the last `window` positions up to its own; 0 is all of them.
    """
    batch, heads, _, size = query.shape
    groups, length = keys.shape[1], keys.shape[2]
    positions = _STRETCH_OF_SHORT if length <= _SHORT else _STRETCH
    stretches = triton.cdiv(length, positions)
    query = query.contiguous()
    out = torch.empty_like(query)  # contiguous, as the query is
    partial = query.new_empty((batch * heads, stretches, size), dtype=torch.float32)
    scales = query.new_empty((batch * heads, stretches, 2), dtype=torch.float32)
    overlap = overlaps(query.device)
    _stretch[(batch * heads, stretches)](
        query, keys, values, position, partial, scales, scale, window, length, stretches,
        heads // groups, size, positions, overlap, num_warps=4, launch_pdl=overlap,
    )  # fmt: skip
    _put_together[(batch * heads,)](
        partial, scales, out, stretches, size, triton.next_power_of_2(stretches), overlap,
        num_warps=4, launch_pdl=overlap,
    )  # fmt: skip
    return out


@triton.jit
def _stretch(
    query, keys, values, position, partial, scales, scale, window, length, stretches,
    SHARE: tl.constexpr, SIZE: tl.constexpr, STRETCH: tl.constexpr, OVERLAPS: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0)
    stretch = tl.program_id(1)
    if OVERLAPS:
        begin_dependents()
    full = tl.load(position) + 1
    channel = tl.arange(0, SIZE)
    place = stretch * STRETCH + tl.arange(0, STRETCH)
    place_of_result = head * stretches + stretch
    seen = place < full
    if window > 0:
        seen = seen & (place >= full - window)
    at = ((head // SHARE).to(tl.int64) * length + place)[:, None] * SIZE + channel[None, :]
    states = tl.load(query + head * SIZE + channel).to(tl.float32) * scale
    key = tl.load(keys + at, mask=seen[:, None], other=0.0).to(tl.float32)
    value = tl.load(values + at, mask=seen[:, None], other=0.0).to(tl.float32)
    score = tl.where(seen, tl.sum(key * states[None, :], 1), -1e30)
    largest = tl.max(score, 0)
    weight = tl.where(seen, tl.exp(score - largest), 0.0)
    tl.store(partial + place_of_result * SIZE + channel, tl.sum(weight[:, None] * value, 0))
    tl.store(scales + place_of_result * 2, largest)
    tl.store(scales + place_of_result * 2 + 1, tl.sum(weight, 0))


@triton.jit
def _put_together(partial, scales, out, stretches, SIZE: tl.constexpr, STRETCHES: tl.constexpr, OVERLAPS: tl.constexpr):
    if OVERLAPS:
        begin_dependents()
    head = tl.program_id(0)
    channel = tl.arange(0, SIZE)
    stretch = tl.arange(0, STRETCHES)
    inside = stretch < stretches
    at = head * stretches + stretch
    largest = tl.load(scales + at * 2, mask=inside, other=-1e30)
    total = tl.load(scales + at * 2 + 1, mask=inside, other=0.0)
    weight = tl.exp(largest - tl.max(largest, 0))
    part = tl.load(partial + at[:, None] * SIZE + channel[None, :], mask=inside[:, None], other=0.0)
    mean = tl.sum(part * weight[:, None], 0) / tl.sum(total * weight, 0)
    tl.store(out + head * SIZE + channel, mean.to(out.dtype.element_ty))
