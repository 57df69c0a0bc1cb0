"""Owns the Triton kernel of a prefill that turns queries and keys by their positions and keeps keys and values.

Each is read once and written once; a compiler writes what it turned, and copies it into the cache in a pass of its own.
"""

import triton
import triton.language as tl
from torch import Tensor

from perfsuite.strategies._overlap import overlaps
from perfsuite.strategies._triton_overlap import begin_dependents

_ROWS = 16


def turn_and_keep(
    query: Tensor, keys: Tensor, values: Tensor, cosines: Tensor, sines: Tensor, kept_keys: Tensor, kept_values: Tensor
) -> Tensor:
    """The turned queries [B, heads, L, D]; turned keys and the values [B, groups, L, D] go to the front of the cache.

    `cosines` and `sines` [B or 1, L, D] are of the angles; the cache is [B, groups, length, D].
    """
    batch, heads, length, size = query.shape
    groups = keys.shape[1]
    turned = query.new_empty(query.shape)
    of_batch = [each.stride(0) if each.shape[0] > 1 else 0 for each in (cosines, sines)]
    overlap = overlaps(query.device)
    _turn_and_keep[(triton.cdiv(length, _ROWS), heads + groups, batch)](
        query, keys, values, cosines, sines, turned, kept_keys, kept_values, length, heads,
        *query.stride()[:3], *keys.stride()[:3], *values.stride()[:3], *turned.stride()[:3],
        *kept_keys.stride()[:3], *kept_values.stride()[:3], *of_batch, cosines.stride(1), sines.stride(1),
        size // 2, _ROWS, overlap, num_warps=4, launch_pdl=overlap,
    )  # fmt: skip
    return turned


@triton.jit
def _turn_and_keep(
    query, keys, values, cosines, sines, turned, kept_keys, kept_values, length, heads,
    query_row, query_head, query_place, key_row, key_head, key_place, value_row, value_head, value_place,
    turned_row, turned_head, turned_place, kept_key_row, kept_key_head, kept_key_place,
    kept_value_row, kept_value_head, kept_value_place, cosine_row, sine_row, cosine_place, sine_place,
    HALF: tl.constexpr, ROWS: tl.constexpr, OVERLAPS: tl.constexpr,
):  # fmt: skip
    if OVERLAPS:
        begin_dependents()
    place = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    of_batch = tl.program_id(2).to(tl.int64)
    head = tl.program_id(1)
    channel = tl.arange(0, HALF)[None, :]
    inside = place < length
    if head < heads:
        source = query + of_batch * query_row + head * query_head + place * query_place + channel
        target = turned + of_batch * turned_row + head * turned_head + place * turned_place + channel
    else:
        group = head - heads
        source = keys + of_batch * key_row + group * key_head + place * key_place + channel
        target = kept_keys + of_batch * kept_key_row + group * kept_key_head + place * kept_key_place + channel
    cosine = cosines + of_batch * cosine_row + place * cosine_place + channel
    sine = sines + of_batch * sine_row + place * sine_place + channel
    first, second = turn_halves(source, cosine, sine, inside, HALF)
    tl.store(target, first, mask=inside)
    tl.store(target + HALF, second, mask=inside)
    if head >= heads:
        group = head - heads
        source = values + of_batch * value_row + group * value_head + place * value_place + channel
        target = kept_values + of_batch * kept_value_row + group * kept_value_head + place * kept_value_place + channel
        tl.store(target, tl.load(source, mask=inside, other=0.0), mask=inside)
        tl.store(target + HALF, tl.load(source + HALF, mask=inside, other=0.0), mask=inside)


@triton.jit
def turn_halves(states, cosines, sines, is_inside, HALF: tl.constexpr):
    """Both halves of states, turned by angles; `states`, `cosines` and `sines` are where first halves lie."""
    first = tl.load(states, mask=is_inside, other=0.0).to(tl.float32)
    second = tl.load(states + HALF, mask=is_inside, other=0.0).to(tl.float32)
    first_cosine = tl.load(cosines, mask=is_inside, other=0.0).to(tl.float32)
    second_cosine = tl.load(cosines + HALF, mask=is_inside, other=0.0).to(tl.float32)
    first_sine = tl.load(sines, mask=is_inside, other=0.0).to(tl.float32)
    second_sine = tl.load(sines + HALF, mask=is_inside, other=0.0).to(tl.float32)
    kind = states.dtype.element_ty
    return (
        (first * first_cosine - second * first_sine).to(kind),
        (second * second_cosine + first * second_sine).to(kind),
    )
