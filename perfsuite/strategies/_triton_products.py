"""Owns the Triton kernels of skinny products: one row by sums, up to sixteen rows by the matrix units."""

import triton
import triton.language as tl
from torch import Tensor

from perfsuite.strategies._overlap import overlaps
from perfsuite.strategies._triton_overlap import begin_dependents

ROWS = 16
_COLUMNS, _DEPTH = 32, 256  # of a block of several rows' product


def fits(rows: Tensor, weight: Tensor) -> bool:
    """Whether the kernels can multiply rows [M, K] by a weight [N, K]."""
    wide, deep = weight.shape
    whole_blocks = wide % _COLUMNS == 0 and deep % _DEPTH == 0
    return (len(rows) == 1 or (len(rows) <= ROWS and whole_blocks)) and weight.is_contiguous()


def product(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Rows [M, K] times a weight [N, K], summed in float32, plus a bias [N]: [M, N]."""
    wide, deep = weight.shape
    count = len(rows)
    out = rows.new_empty((count, wide))
    rows = rows.contiguous()
    overlap = overlaps(rows.device)
    if count == 1:
        columns, depth, warps = (1, 4096, 8) if deep > 2 * wide else (4, 1024, 8)
        _one_row[(triton.cdiv(wide, columns),)](
            rows, weight, bias, out, wide, deep, columns, depth, overlap, num_warps=warps, launch_pdl=overlap
        )
    else:
        _several_rows[(wide // _COLUMNS,)](
            rows, weight, bias, out, count, wide, deep,
            ROWS, _COLUMNS, _DEPTH, overlap, num_warps=4, num_stages=4, launch_pdl=overlap,
        )  # fmt: skip
    return out


@triton.jit
def _one_row(row, weight, bias, out, wide, deep, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, OVERLAPS: tl.constexpr):
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    place = tl.arange(0, DEPTH)
    total = tl.zeros((COLUMNS, DEPTH), tl.float32)
    weights_at = weight + column[:, None].to(tl.int64) * deep + place[None, :]
    is_column = column[:, None] < wide
    # The weights do not wait for the kernel before, which gives the row.
    weights = tl.load(weights_at, mask=(place < deep)[None, :] & is_column, other=0.0, eviction_policy="evict_first")
    if OVERLAPS:
        begin_dependents()
    for start in range(0, deep, DEPTH):
        states = tl.load(row + start + place, mask=start + place < deep, other=0.0).to(tl.float32)
        total += states[None, :] * weights.to(tl.float32)
        weights_at += DEPTH
        is_next = (start + DEPTH + place < deep)[None, :] & is_column
        weights = tl.load(weights_at, mask=is_next, other=0.0, eviction_policy="evict_first")
    offset = tl.load(bias + column, mask=column < wide, other=0.0).to(tl.float32)
    tl.store(out + column, (tl.sum(total, 1) + offset).to(out.dtype.element_ty), mask=column < wide)


@triton.jit
def _several_rows(
    rows, weight, bias, out, count, wide, deep,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, OVERLAPS: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    row = tl.arange(0, ROWS)
    place = tl.arange(0, DEPTH)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    states_at = rows + row[:, None] * deep + place[None, :]
    weights_at = weight + column[None, :].to(tl.int64) * deep + place[:, None]
    if OVERLAPS:
        begin_dependents()
    for _ in range(0, deep, DEPTH):
        states = tl.load(states_at, mask=row[:, None] < count, other=0.0)
        weights = tl.load(weights_at, eviction_policy="evict_first")
        total = tl.dot(states, weights, total)
        states_at += DEPTH
        weights_at += DEPTH
    total += tl.load(bias + column).to(tl.float32)[None, :]
    tl.store(out + row[:, None] * wide + column[None, :], total.to(out.dtype.element_ty), mask=row[:, None] < count)
