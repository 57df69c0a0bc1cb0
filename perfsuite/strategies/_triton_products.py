"""Owns the Triton kernels of skinny products: one row by sums, up to sixteen rows by the matrix units."""

import triton
import triton.language as tl
from torch import Tensor

ROWS = 16
BYTES_AHEAD = 4 * 2**20
"""How much of the next product's weights is asked for while what lies between the two products runs."""
_COLUMNS, _DEPTH = 32, 256  # of a block of several rows' product
_ASKERS = 264  # blocks that ask ahead: two on each multiprocessor of an H100, those that finish last
_THREADS_ASKING = 128


def fits(rows: Tensor, weight: Tensor) -> bool:
    """Whether the kernels can multiply rows [M, K] by a weight [N, K]."""
    wide, deep = weight.shape
    whole_blocks = wide % _COLUMNS == 0 and deep % _DEPTH == 0
    return (len(rows) == 1 or (len(rows) <= ROWS and whole_blocks)) and weight.is_contiguous()


def product(
    rows: Tensor, weight: Tensor, bias: Tensor, following: Tensor | None, bytes_ahead: int = BYTES_AHEAD
) -> Tensor:
    """Rows [M, K] times a weight [N, K], summed in float32, plus a bias [N]: [M, N]."""
    wide, deep = weight.shape
    count = len(rows)
    out = rows.new_empty((count, wide))
    ahead = weight if following is None else following
    share = 0 if following is None else min(bytes_ahead, ahead.numel() * ahead.element_size()) // _ASKERS
    chunk = share // _THREADS_ASKING // 16 * 16
    rows = rows.contiguous()
    if count == 1:
        columns, depth, warps = (1, 4096, 8) if deep > 2 * wide else (4, 1024, 8)
        grid = (triton.cdiv(wide, columns),)
        _one_row[grid](rows, weight, bias, out, ahead, wide, deep, chunk, columns, depth, chunk > 0, num_warps=warps)
    else:
        _several_rows[(wide // _COLUMNS,)](
            rows, weight, bias, out, ahead, count, wide, deep, chunk,
            ROWS, _COLUMNS, _DEPTH, chunk > 0, num_warps=4, num_stages=4,
        )  # fmt: skip
    return out


@triton.jit
def ask_ahead(ahead, turn, chunk):
    """Bring 128 chunks of a matrix, those of this turn, into the cache of the device, without waiting for them."""
    place = turn * 128 + tl.arange(0, 128)
    address = ahead.to(tl.pointer_type(tl.int8)) + place.to(tl.int64) * chunk
    size = tl.zeros((128,), tl.int32) + chunk
    tl.inline_asm_elementwise(
        "cp.async.bulk.prefetch.L2.global [$1], $2; mov.u32 $0, 0;", "=r,l,r", [address, size],
        dtype=tl.int32, is_pure=False, pack=1,
    )  # fmt: skip


@triton.jit
def _ask_ahead_at_last(ahead, chunk):
    """Let the blocks that finish last ask for the beginning of the next matrix."""
    first = tl.num_programs(0) - 264
    if tl.program_id(0) >= first:
        ask_ahead(ahead, tl.program_id(0) - first, chunk)


@triton.jit
def _one_row(
    row, weight, bias, out, ahead, wide, deep, chunk, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, ASKS: tl.constexpr
):
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    place = tl.arange(0, DEPTH)
    total = tl.zeros((COLUMNS, DEPTH), tl.float32)
    for start in range(0, deep, DEPTH):
        inside = (start + place) < deep
        states = tl.load(row + start + place, mask=inside, other=0.0).to(tl.float32)
        weights = tl.load(
            weight + column[:, None].to(tl.int64) * deep + (start + place)[None, :],
            mask=inside[None, :] & (column[:, None] < wide), other=0.0, eviction_policy="evict_first",
        )  # fmt: skip
        total += states[None, :] * weights.to(tl.float32)
    if ASKS:
        _ask_ahead_at_last(ahead, chunk)
    offset = tl.load(bias + column, mask=column < wide, other=0.0).to(tl.float32)
    tl.store(out + column, (tl.sum(total, 1) + offset).to(out.dtype.element_ty), mask=column < wide)


@triton.jit
def _several_rows(
    rows, weight, bias, out, ahead, count, wide, deep, chunk,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, ASKS: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    row = tl.arange(0, ROWS)
    place = tl.arange(0, DEPTH)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    states_at = rows + row[:, None] * deep + place[None, :]
    weights_at = weight + column[None, :].to(tl.int64) * deep + place[:, None]
    for _ in range(0, deep, DEPTH):
        states = tl.load(states_at, mask=row[:, None] < count, other=0.0)
        weights = tl.load(weights_at, eviction_policy="evict_first")
        total = tl.dot(states, weights, total)
        states_at += DEPTH
        weights_at += DEPTH
    if ASKS:
        _ask_ahead_at_last(ahead, chunk)
    total += tl.load(bias + column).to(tl.float32)[None, :]
    tl.store(out + row[:, None] * wide + column[None, :], total.to(out.dtype.element_ty), mask=row[:, None] < count)
