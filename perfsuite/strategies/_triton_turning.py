"""Owns the Triton kernel of a very short prefill's attention, which turns queries and keys and keeps keys and values.

Each block turns the keys it needs once more: of so few that costs less than a kernel that turns them before.
"""

import triton
import triton.language as tl
from torch import Tensor

from perfsuite.strategies._overlap import overlaps
from perfsuite.strategies._triton_causal import in_powers_of_two, take_in
from perfsuite.strategies._triton_overlap import begin_dependents
from perfsuite.strategies._triton_rotation import turn_halves

LONGEST = 128
"""Beyond it keys would be turned by too many blocks."""
_NARROWEST = 32  # channels: the matrix units take 16 at a time, and a half is turned by the other
_ROWS_OF_FEW, _ROWS_OF_MANY, _FEW = 16, 64, 64  # fewer rows a block turn the same keys more often
_COLUMNS, _WARPS = 64, 8


def fits(query: Tensor) -> bool:
    """Whether the kernel can attend for queries [B, heads, L, D] whose channels lie in one piece."""
    return query.shape[2] <= LONGEST and query.shape[3] >= _NARROWEST


def turn_keep_and_attend(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    cosines: Tensor,
    sines: Tensor,
    kept_keys: Tensor,
    kept_values: Tensor,
    scale: float,
) -> Tensor:
    """Causal attention of queries [B, heads, L, D] over keys and values [B, groups, L, D], turned: [B, L, heads, D].

    Turned keys and the values go to the front of the cache [B, groups, length, D]; `cosines` and `sines` [B or 1, L, D]
    are of the angles.
    """
    batch, heads, length, size = query.shape
    groups = keys.shape[1]
    out = query.new_empty((batch, length, heads, size))
    rows = _ROWS_OF_FEW if length <= _FEW else _ROWS_OF_MANY
    of_batch = [each.stride(0) if each.shape[0] > 1 else 0 for each in (cosines, sines)]
    overlap = overlaps(query.device)
    _turn_keep_and_attend[(triton.cdiv(length, rows), batch * heads)](
        query, keys, values, cosines, sines, kept_keys, kept_values, out, in_powers_of_two(scale), length, heads,
        *query.stride()[:3], *keys.stride()[:3], *values.stride()[:3], *kept_keys.stride()[:3],
        *kept_values.stride()[:3], *of_batch, cosines.stride(1), sines.stride(1),
        heads // groups, size // 2, rows, _COLUMNS, overlap, num_warps=_WARPS, num_stages=1, launch_pdl=overlap,
    )  # fmt: skip
    return out


@triton.jit
def _turn_keep_and_attend(
    query, keys, values, cosines, sines, kept_keys, kept_values, out, scale, length, heads,
    query_row, query_head, query_place, key_row, key_head, key_place, value_row, value_head, value_place,
    kept_key_row, kept_key_head, kept_key_place, kept_value_row, kept_value_head, kept_value_place,
    cosine_row, sine_row, cosine_place, sine_place,
    SHARE: tl.constexpr, HALF: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, OVERLAPS: tl.constexpr,
):  # fmt: skip
    if OVERLAPS:
        begin_dependents()
    block = tl.num_programs(0) - 1 - tl.program_id(0)  # those with most to do begin first
    of_batch = (tl.program_id(1) // heads).to(tl.int64)
    head = tl.program_id(1) % heads
    group = head // SHARE
    row = block * ROWS + tl.arange(0, ROWS)
    half = tl.arange(0, HALF)
    channel = tl.arange(0, 2 * HALF)
    is_row = row[:, None] < length
    cosines += of_batch * cosine_row
    sines += of_batch * sine_row
    query += of_batch * query_row + head * query_head + row[:, None] * query_place + half[None, :]
    keys += of_batch * key_row + group * key_head
    values += of_batch * value_row + group * value_head
    kept_keys += of_batch * kept_key_row + group * kept_key_head
    kept_values += of_batch * kept_value_row + group * kept_value_head
    first_states, second_states = turn_halves(
        query, cosines + row[:, None] * cosine_place + half[None, :], sines + row[:, None] * sine_place + half[None, :],
        is_row, HALF,
    )  # fmt: skip
    largest = tl.full((ROWS,), -1e30, tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    mean = tl.zeros((ROWS, 2 * HALF), tl.float32)
    for start in range(0, tl.minimum(length, (block + 1) * ROWS), COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        is_column = column < length
        first_key, second_key = turn_halves(
            keys + column[None, :] * key_place + half[:, None],
            cosines + column[None, :] * cosine_place + half[:, None],
            sines + column[None, :] * sine_place + half[:, None],
            is_column[None, :], HALF,
        )  # fmt: skip
        value = tl.load(values + column[:, None] * value_place + channel[None, :], mask=is_column[:, None], other=0.0)
        if head % SHARE == 0:
            is_own = is_column & (column >= block * ROWS) & (column < (block + 1) * ROWS)
            kept_key = kept_keys + column[None, :] * kept_key_place + half[:, None]
            tl.store(kept_key, first_key, mask=is_own[None, :])
            tl.store(kept_key + HALF, second_key, mask=is_own[None, :])
            kept_value = kept_values + column[:, None] * kept_value_place + channel[None, :]
            tl.store(kept_value, value, mask=is_own[:, None])
        score = tl.dot(second_states, second_key, tl.dot(first_states, first_key)) * scale
        score = tl.where(column[None, :] <= row[:, None], score, -1e30)
        largest, total, mean = take_in(score, value, largest, total, mean)
    at = (of_batch * length + row) * heads + head
    tl.store(
        out + at[:, None] * (2 * HALF) + channel[None, :], (mean / total[:, None]).to(out.dtype.element_ty), mask=is_row
    )
