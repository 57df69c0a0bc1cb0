"""Owns the Triton kernel of a short prefill's attention: causal, over the prompt alone.

A prompt of some hundred tokens is too short for the kernels that are made for thousands: those spend their time on
getting ready. One block attends for some queries of one head (FlashAttention-2, Dao 2023).
"""

import math

import triton
import triton.language as tl
from torch import Tensor

from perfsuite.strategies._overlap import overlaps
from perfsuite.strategies._triton_overlap import begin_dependents

LONGEST = 512
"""From here on torch's own kernels are as fast."""


def fits(query: Tensor, keys: Tensor, values: Tensor) -> bool:
    """Whether the kernel can attend: heads that lie in one piece, and a short prompt."""
    return query.shape[2] <= LONGEST and all(each.stride(-1) == 1 for each in (query, keys, values))


def attend(query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Causal attention of queries [B, heads, L, D] over keys and values [B, groups, L, D]: [B, L, heads, D]."""
    batch, heads, length, size = query.shape
    out = query.new_empty((batch, length, heads, size))
    rows, columns, stages = _tiles(length)
    overlap = overlaps(query.device)
    _attend[(triton.cdiv(length, rows), batch * heads)](
        query, keys, values, out, in_powers_of_two(scale), length, heads,
        *query.stride()[:3], *keys.stride()[:3], *values.stride()[:3],
        heads // keys.shape[1], size, rows, columns, overlap, num_warps=4, num_stages=stages, launch_pdl=overlap,
    )  # fmt: skip
    return out


def in_powers_of_two(scale: float) -> float:
    """What scores are multiplied by so that powers of two, which are cheaper, take the place of those of e."""
    return scale / math.log(2)


def _tiles(length: int) -> tuple[int, int, int]:
    """Queries and keys of a block, and how many blocks of keys it loads ahead, as they were fastest on an H100."""
    if length <= 64:
        return 16, 64, 2
    return (64, 64, 2) if length <= 128 else (64, 32, 3) if length <= 220 else (64, 64, 3)


@triton.jit
def _attend(
    query, keys, values, out, scale, length, heads,
    query_row, query_head, query_place, key_row, key_head, key_place, value_row, value_head, value_place,
    SHARE: tl.constexpr, SIZE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, OVERLAPS: tl.constexpr,
):  # fmt: skip
    if OVERLAPS:
        begin_dependents()
    block = tl.num_programs(0) - 1 - tl.program_id(0)  # those with most to do begin first
    of_batch = (tl.program_id(1) // heads).to(tl.int64)
    head = tl.program_id(1) % heads
    row = block * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, SIZE)
    query += of_batch * query_row + head * query_head
    keys += of_batch * key_row + (head // SHARE) * key_head
    values += of_batch * value_row + (head // SHARE) * value_head
    states = tl.load(query + row[:, None] * query_place + channel[None, :], mask=row[:, None] < length, other=0.0)
    largest = tl.full((ROWS,), -1e30, tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    mean = tl.zeros((ROWS, SIZE), tl.float32)
    behind = block * ROWS // COLUMNS * COLUMNS  # up to here every query sees every key
    for start in range(0, behind, COLUMNS):
        largest, total, mean = _see(
            states, keys, values, key_place, value_place, scale, length, row, start, largest, total, mean,
            SIZE, COLUMNS, False,
        )  # fmt: skip
    for start in range(behind, tl.minimum(length, (block + 1) * ROWS), COLUMNS):
        largest, total, mean = _see(
            states, keys, values, key_place, value_place, scale, length, row, start, largest, total, mean,
            SIZE, COLUMNS, True,
        )  # fmt: skip
    at = (of_batch * length + row) * heads + head
    tl.store(
        out + at[:, None] * SIZE + channel[None, :], (mean / total[:, None]).to(out.dtype.element_ty),
        mask=row[:, None] < length,
    )  # fmt: skip


@triton.jit
def _see(
    states, keys, values, key_place, value_place, scale, length, row, start, largest, total, mean,
    SIZE: tl.constexpr, COLUMNS: tl.constexpr, IS_DIAGONAL: tl.constexpr,
):  # fmt: skip
    """What a block of keys and values adds; one on the diagonal is not seen by all queries, and may reach too far."""
    column = start + tl.arange(0, COLUMNS)
    channel = tl.arange(0, SIZE)
    inside = column < (length if IS_DIAGONAL else start + COLUMNS)
    key = tl.load(keys + column[None, :] * key_place + channel[:, None], mask=inside[None, :], other=0.0)
    value = tl.load(values + column[:, None] * value_place + channel[None, :], mask=inside[:, None], other=0.0)
    score = tl.dot(states, key) * scale
    if IS_DIAGONAL:
        score = tl.where(column[None, :] <= row[:, None], score, -1e30)
    return take_in(score, value, largest, total, mean)


@triton.jit
def take_in(score, value, largest, total, mean):
    """The largest score, the sum of weights and the weighted sum of values [rows, D], after some scores more."""
    larger = tl.maximum(largest, tl.max(score, 1))
    weight = tl.exp2(score - larger[:, None])
    fade = tl.exp2(largest - larger)
    mean = tl.dot(weight.to(value.dtype), value, mean * fade[:, None])
    return larger, total * fade + tl.sum(weight, 1), mean
