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
    out = rows.new_empty((len(rows), len(weight)))
    if len(rows) == 1:
        _multiply_one_row(rows, weight, bias, out)
    else:
        _multiply_several_rows(rows, weight, bias, out.unsqueeze(0))
    return out


def product_in_halves(rows: Tensor, weight: Tensor, halves: Tensor) -> None:
    """Two tensors into `halves` [2, M, N] whose sum is the product of rows [M, K] and a weight [N, K]."""
    zeros = rows.new_zeros(len(weight))
    if len(rows) == 1:
        _multiply_one_row(rows, weight, zeros, halves[0])
        halves[1].zero_()
    else:
        _multiply_several_rows(rows, weight, zeros, halves)


def one_row_product(
    row: Tensor, weight: Tensor, offset: Tensor, norm: Tensor | None, epsilon: float, is_gated: bool
) -> Tensor:
    """A row [1, K], normed by its root mean square where there is a `norm` [K], times a weight [N, K]: [1, N].

    An offset of N numbers is added; gated it is silu of the first half times the second half, without it: [1, N / 2].
    """
    out = row.new_empty((1, len(weight) // 2 if is_gated else len(weight)))
    _multiply_one_row(row, weight, offset, out, norm, epsilon, is_gated)
    return out


def _multiply_one_row(
    row: Tensor,
    weight: Tensor,
    offset: Tensor,
    out: Tensor,
    norm: Tensor | None = None,
    epsilon: float = 0.0,
    is_gated: bool = False,
) -> None:
    wide, deep = out.shape[-1], weight.shape[1]
    columns, depth = 2 if is_gated else 8, 1024  # measured on an H200: docs/benchmarks/speed.md
    overlap = overlaps(row.device)
    _one_row[(triton.cdiv(wide, columns),)](
        row.contiguous(), row if norm is None else norm.contiguous(), weight, offset.contiguous(), out,
        wide, deep, epsilon, columns, depth, norm is not None, is_gated, overlap, num_warps=4, launch_pdl=overlap,
    )  # fmt: skip


def _multiply_several_rows(rows: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> None:
    """Into `out` [parts, M, N], a share of the depth for each part; their sum is the product."""
    wide, deep = weight.shape
    share = triton.cdiv(deep // _DEPTH, len(out)) * _DEPTH
    overlap = overlaps(rows.device)
    _several_rows[(wide // _COLUMNS, len(out))](
        rows.contiguous(), weight, bias, out, len(rows), wide, deep, share,
        ROWS, _COLUMNS, _DEPTH, overlap, num_warps=4, num_stages=4, launch_pdl=overlap,
    )  # fmt: skip


@triton.jit
def _one_row(
    row, norm, weight, offset, out, wide, deep, epsilon,
    COLUMNS: tl.constexpr, DEPTH: tl.constexpr, NORMED: tl.constexpr, GATED: tl.constexpr, OVERLAPS: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    place = tl.arange(0, DEPTH)
    total = tl.zeros((COLUMNS, DEPTH), tl.float32)
    squares = tl.zeros((DEPTH,), tl.float32)
    weights_at = weight + column[:, None].to(tl.int64) * deep + place[None, :]
    is_column = column[:, None] < wide
    # The weights do not wait for the kernel before, which gives the row.
    is_inside = (place < deep)[None, :] & is_column
    weights = tl.load(weights_at, mask=is_inside, other=0.0, eviction_policy="evict_first")
    if GATED:
        others_at = weight + (column[:, None] + wide).to(tl.int64) * deep + place[None, :]
        others = tl.load(others_at, mask=is_inside, other=0.0, eviction_policy="evict_first")
        other_total = tl.zeros((COLUMNS, DEPTH), tl.float32)
    if OVERLAPS:
        begin_dependents()
    for start in range(0, deep, DEPTH):
        is_place = start + place < deep
        states = tl.load(row + start + place, mask=is_place, other=0.0).to(tl.float32)
        if NORMED:
            squares += states * states
            states *= tl.load(norm + start + place, mask=is_place, other=0.0).to(tl.float32)
        total += states[None, :] * weights.to(tl.float32)
        weights_at += DEPTH
        is_next = (start + DEPTH + place < deep)[None, :] & is_column
        weights = tl.load(weights_at, mask=is_next, other=0.0, eviction_policy="evict_first")
        if GATED:
            other_total += states[None, :] * others.to(tl.float32)
            others_at += DEPTH
            others = tl.load(others_at, mask=is_next, other=0.0, eviction_policy="evict_first")
    scale = _inverse_of_root(squares, deep, epsilon, NORMED)
    result = tl.sum(total, 1) * scale
    if GATED:
        result *= tl.sum(other_total, 1) * scale / (1.0 + tl.exp(-result))
    else:
        result += tl.load(offset + column, mask=column < wide, other=0.0).to(tl.float32)
    tl.store(out + column, result.to(out.dtype.element_ty), mask=column < wide)


@triton.jit
def _inverse_of_root(squares, count, epsilon, NORMED: tl.constexpr):
    """What a norm multiplies a row by, of whose numbers these are the squares; without a norm 1."""
    scale = 1.0
    if NORMED:
        scale = tl.rsqrt(tl.sum(squares, 0) / count + epsilon)
    return scale


@triton.jit
def _several_rows(
    rows, weight, bias, out, count, wide, deep, share,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, OVERLAPS: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    row = tl.arange(0, ROWS)
    place = tl.arange(0, DEPTH)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    begin = tl.program_id(1) * share
    states_at = rows + row[:, None] * deep + begin + place[None, :]
    weights_at = weight + column[None, :].to(tl.int64) * deep + begin + place[:, None]
    if OVERLAPS:
        begin_dependents()
    for _ in range(begin, tl.minimum(begin + share, deep), DEPTH):
        states = tl.load(states_at, mask=row[:, None] < count, other=0.0)
        weights = tl.load(weights_at, eviction_policy="evict_first")
        total = tl.dot(states, weights, total)
        states_at += DEPTH
        weights_at += DEPTH
    if begin == 0:
        total += tl.load(bias + column).to(tl.float32)[None, :]
    out += tl.program_id(1) * count * wide
    tl.store(out + row[:, None] * wide + column[None, :], total.to(out.dtype.element_ty), mask=row[:, None] < count)
