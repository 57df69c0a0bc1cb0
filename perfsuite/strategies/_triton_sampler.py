"""Owns the Triton kernels of a draw: two of them, whatever the parameters, which they read from the device.

The first changes logits by penalty and temperature and picks what may be among the top-k, a stretch of the vocabulary
for each block. The second finds top-k and top-p among that, by bisection of what a token's score is ordered by, and
lets what is kept race (see `_sampler.choose`). Where ties or a large top-k leave too much to pick from it looks at all.
"""

import triton
import triton.language as tl
from torch import Tensor

from perfsuite.strategies._overlap import overlaps
from perfsuite.strategies._triton_overlap import begin_dependents

STRETCH, PLACES = 1024, 64
"""Tokens that one block of the first kernel looks at, and how many of them it may pick."""
PARAMETERS = ("seed", "top_k", "temperature", "top_p", "repetition_penalty")
"""What is read from the device, 8 bytes each: two whole numbers, three of float64."""
_PROMPT_BLOCK, _LEAST_BLOCK, _LARGEST_BLOCK = 256, 1024, 16384
_NONE = tl.constexpr(-(2**31))  # the order of what is no token


def pick(
    logits: Tensor, ids: Tensor, seen: Tensor, parameters: Tensor, orders: Tensor, picked: Tensor, counts: Tensor,
    is_first: bool,
) -> None:  # fmt: skip
    """The order of every token's score, and by stretches what may be drawn; the fresh ids [B, L] are seen from now on.

    Takes logits [B, V], `seen` [B, V] (uint8), orders [B, V] (int32), `picked` [B, 2, stretches, PLACES] (int32: orders
    and ids) and counts [B, stretches] (int32). With `is_first` nothing was seen before.
    """
    rows, vocabulary = logits.shape
    overlap = overlaps(logits.device)
    _pick[(counts.shape[1], rows)](
        logits, logits.stride(0), ids, ids.shape[1], seen, parameters, orders, picked, counts, vocabulary,
        is_first, STRETCH, PLACES, _PROMPT_BLOCK, overlap, num_warps=4, launch_pdl=overlap,
    )  # fmt: skip


def draw(
    parameters: Tensor, orders: Tensor, picked: Tensor, counts: Tensor, step: Tensor, drawn: Tensor, is_first: bool
) -> None:
    """Token ids into `drawn` [B, 1] (int64), after `pick`; `step` [B] (int64) counts the draws of a request."""
    rows, vocabulary = orders.shape
    stretches = counts.shape[1]
    block = min(triton.next_power_of_2(max(stretches * PLACES, _LEAST_BLOCK)), _LARGEST_BLOCK)
    overlap = overlaps(orders.device)
    _draw[(rows,)](
        parameters, orders, picked, counts, step, drawn, vocabulary, stretches,
        is_first, PLACES, block, overlap, num_warps=min(block // 256, 32), launch_pdl=overlap,
    )  # fmt: skip


@triton.jit
def _float(parameters, place: tl.constexpr):
    return tl.load(parameters + place).to(tl.float64, bitcast=True).to(tl.float32)


@triton.jit
def _order(score):
    """A whole number that grows with the score."""
    bits = score.to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _score(order):
    return (order ^ ((order >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)


@triton.jit
def _pick(
    logits, logits_row, ids, length, seen, parameters, orders, picked, counts, vocabulary,
    IS_FIRST: tl.constexpr, STRETCH: tl.constexpr, PLACES: tl.constexpr, PROMPT: tl.constexpr, OVERLAPS: tl.constexpr,
):  # fmt: skip
    if OVERLAPS:
        begin_dependents()
    row = tl.program_id(1).to(tl.int64)
    begin = tl.program_id(0) * STRETCH
    token = begin + tl.arange(0, STRETCH)
    is_token = token < vocabulary
    seen += row * vocabulary
    if IS_FIRST:
        tl.store(seen + token, tl.zeros((STRETCH,), tl.uint8), mask=is_token)
        tl.debug_barrier()
        for start in range(0, length, PROMPT):
            place = start + tl.arange(0, PROMPT)
            fresh = tl.load(ids + row * length + place, mask=place < length, other=-1)
            tl.store(seen + fresh, tl.full((PROMPT,), 1, tl.uint8), mask=(fresh >= begin) & (fresh < begin + STRETCH))
        tl.debug_barrier()
        is_seen = tl.load(seen + token, mask=is_token, other=0) != 0
    else:
        is_seen = (tl.load(seen + token, mask=is_token, other=0) != 0) | (token == tl.load(ids + row))
        tl.store(seen + token, is_seen.to(tl.uint8), mask=is_token)
    top_k = tl.load(parameters + 1)
    temperature = _float(parameters, 2)
    penalty = _float(parameters, 4)
    score = tl.load(logits + row * logits_row + token, mask=is_token, other=0.0).to(tl.float32)
    penalised = tl.where(score < 0, score * penalty, tl.div_rn(score, penalty))
    order = _order(tl.div_rn(tl.where(is_seen, penalised, score), temperature))
    tl.store(orders + row * vocabulary + token, order, mask=is_token)

    count = tl.minimum(vocabulary - begin, STRETCH)
    wanted = tl.minimum(top_k, count.to(tl.int64)).to(tl.int32)
    low = tl.min(tl.where(is_token, order, 2147483647), 0).to(tl.int64)
    above = tl.max(tl.where(is_token, order, _NONE), 0).to(tl.int64) + 1
    while (wanted > 0) & (wanted <= PLACES) & (count > PLACES) & (above - low > 1):
        middle = low + (above - low) // 2
        at_least = tl.sum((is_token & (order >= middle.to(tl.int32))).to(tl.int32), 0)
        if at_least >= wanted:
            low = middle
            count = at_least
        else:
            above = middle
    is_picked = is_token & (order >= low.to(tl.int32))
    place = tl.cumsum(is_picked.to(tl.int32), 0) - 1
    picked += (row * 2 * tl.num_programs(0) + tl.program_id(0)) * PLACES
    fits = is_picked & (place < PLACES)
    tl.store(picked + place, order, mask=fits)
    tl.store(picked + tl.num_programs(0) * PLACES + place, token, mask=fits)
    empty = tl.arange(0, PLACES)
    tl.store(picked + empty, tl.full((PLACES,), _NONE, tl.int32), mask=empty >= count)
    tl.store(counts + row * tl.num_programs(0) + tl.program_id(0), count)


@triton.jit
def _load(source, start, total, BLOCK: tl.constexpr):
    """The orders of a block of candidates."""
    candidate = start + tl.arange(0, BLOCK)
    return tl.load(source + candidate, mask=candidate < total, other=_NONE)


@triton.jit
def _weight(order, peak):
    return tl.where(order == _NONE, 0.0, tl.exp(_score(order) - peak))


@triton.jit
def _reach(source, total, BLOCK: tl.constexpr):
    """The smallest and the largest order, and how many there are."""
    least = tl.full((), 2147483647, tl.int64)
    best = tl.full((), -2147483648, tl.int64)
    count = tl.full((), 0, tl.int64)
    for start in range(0, total, BLOCK):
        order = _load(source, start, total, BLOCK)
        best = tl.maximum(best, tl.max(order, 0).to(tl.int64))
        least = tl.minimum(least, tl.min(tl.where(order == _NONE, 2147483647, order), 0).to(tl.int64))
        count += tl.sum((order != _NONE).to(tl.int32), 0)
    return least, best, count


@triton.jit
def _top_k(source, total, least, best, count, wanted, BLOCK: tl.constexpr):
    """From which order on tokens are kept, and how many: as many as wanted, and whatever is tied with the last."""
    above = best + 1
    while (count > wanted) & (above - least > 1):
        middle = least + (above - least) // 2
        at_least = tl.full((), 0, tl.int64)
        for start in range(0, total, BLOCK):
            order = _load(source, start, total, BLOCK)
            at_least += tl.sum((order >= middle.to(tl.int32)).to(tl.int32), 0)
        if at_least >= wanted:
            least = middle
            count = at_least
        else:
            above = middle
    return least, count


@triton.jit
def _top_p(source, total, least, best, count, top_p, BLOCK: tl.constexpr):
    """From which order on tokens are kept: those before whom less than `top_p` of the kept ones' weight comes.

    The crossing one is above `low` and not above `high`; it is found when no other is, or only what is tied with it.
    """
    peak = _score(best.to(tl.int32))
    mass = tl.full((), 0.0, tl.float32)
    for start in range(0, total, BLOCK):
        order = _load(source, start, total, BLOCK)
        mass += tl.sum(tl.where(order >= least.to(tl.int32), _weight(order, peak), 0.0), 0)
    low = least - 1
    high = best
    while (count > 1) & (high - low > 1):
        middle = low + (high - low) // 2
        before = tl.full((), 0.0, tl.float32)
        upper = tl.full((), 0, tl.int64)
        for start in range(0, total, BLOCK):
            order = _load(source, start, total, BLOCK)
            is_upper = order > middle.to(tl.int32)
            before += tl.sum(tl.where(is_upper, _weight(order, peak), 0.0), 0)
            upper += tl.sum((is_upper & (order <= high.to(tl.int32))).to(tl.int32), 0)
        if before < top_p * mass:
            high = middle
            count -= upper
        else:
            low = middle
            count = upper
    return low + 1


@triton.jit
def _exponential(seed, token, row, now):
    """A number from Exp(1) for each token: -log(1 - u), exact for small u too, as they decide the race."""
    nothing = token * 0
    bits, _, _, _ = tl.philox(seed, token, nothing + row, nothing + now, nothing)
    uniform = ((bits >> 1).to(tl.float32) + 0.5) * 4.656612873077393e-10
    rest = 1.0 - uniform
    return tl.where(rest == 1.0, uniform, -tl.log(rest) * uniform / tl.where(rest == 1.0, 1.0, 1.0 - rest))


@triton.jit
def _race(source, total, is_picked, least, best, parameters, row, now, BLOCK: tl.constexpr):
    """The token with the largest weight for its number from Exp(1), or the first of the best ones if greedy."""
    seed = tl.load(parameters)
    is_greedy = tl.load(parameters + 1) == 1
    peak = _score(best.to(tl.int32))
    fastest = tl.full((), -1.0, tl.float32)
    winner = tl.full((), 0, tl.int64)
    for start in range(0, total, BLOCK):
        order = _load(source, start, total, BLOCK)
        is_kept = (order >= least.to(tl.int32)) & (order != _NONE)
        token = start + tl.arange(0, BLOCK)
        if is_picked:
            token = tl.load(source + total + token, mask=is_kept, other=0)
        pace = tl.where(is_greedy, 1.0, _weight(order, peak) / _exponential(seed, token, row, now))
        pace = tl.where(is_kept, pace, -1.0)
        of_block = tl.max(pace, 0)
        if of_block > fastest:
            fastest = of_block
            winner = tl.min(tl.where(pace == of_block, token, 2147483647), 0).to(tl.int64)
    return winner


@triton.jit
def _draw(
    parameters, orders, picked, counts, step, drawn, vocabulary, stretches,
    IS_FIRST: tl.constexpr, PLACES: tl.constexpr, BLOCK: tl.constexpr, OVERLAPS: tl.constexpr,
):  # fmt: skip
    if OVERLAPS:
        begin_dependents()
    row = tl.program_id(0).to(tl.int64)
    now = tl.full((), 0, tl.int64) if IS_FIRST else tl.load(step + row)
    tl.store(step + row, now + 1)
    top_k = tl.load(parameters + 1)
    top_p = _float(parameters, 3)
    most = 0
    for start in range(0, stretches, BLOCK):
        stretch = start + tl.arange(0, BLOCK)
        most = tl.maximum(
            most, tl.max(tl.load(counts + row * stretches + stretch, mask=stretch < stretches, other=0), 0)
        )
    is_picked = (top_k > 0) & (most <= PLACES)
    source = orders + row * vocabulary
    total = vocabulary
    if is_picked:
        source = picked + row * 2 * stretches * PLACES
        total = stretches * PLACES

    least, best, count = _reach(source, total, BLOCK)
    if top_k > 0:
        least, count = _top_k(source, total, least, best, count, top_k, BLOCK)
    if top_p < 1:
        least = _top_p(source, total, least, best, count, top_p, BLOCK)

    winner = _race(source, total, is_picked, least, best, parameters, row.to(tl.int32), now.to(tl.int32), BLOCK)
    tl.store(drawn + row, winner)
