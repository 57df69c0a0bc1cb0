"""Owns how many tokens came with each chunk of an answer that tells no ids."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from perfsuite.core.errors import EndpointError

Counter = Callable[[str], int]
"""How many tokens a text has, begin and end left out."""


def from_running_totals(totals: Sequence[int]) -> tuple[int, ...]:
    """Tokens of each chunk, where every chunk says how many there were by then; EndpointError if they become fewer."""
    counts = tuple(after - before for before, after in pairwise((0, *totals)))
    if any(count < 0 for count in counts):
        raise EndpointError(f"the server's count of output tokens fell: {', '.join(map(str, totals[:10]))}")
    return counts


def divided(texts: Sequence[str], total: int | None, counter: Counter | None) -> tuple[int, ...]:
    """Tokens of each chunk of text, `total` in all, the server's count; a chunk of text holds one token at least.

    As many tokens as chunks is one each. Otherwise the tokenizer divides them, and where it counts otherwise than the
    server, or there is none, they are divided evenly. Without a total the tokenizer's count stands. The tokens of an
    answer without any text came with its end. EndpointError if nothing says how many there are.
    """
    wordy = [index for index, text in enumerate(texts) if text]
    if total is None and counter is None:
        raise EndpointError(
            "the server sends no usage (stream_options.include_usage), and there is no tokenizer to count its tokens; "
            "name one with --perf-tokenizer"
        )
    counts = [0] * len(texts)
    if not wordy:
        counts[-1:] = [total or 0] if texts else []
        return tuple(counts)
    if total is not None and total < len(wordy):
        raise EndpointError(f"the server counts {total} output tokens, but sent text in {len(wordy)} chunks")
    shares = _shares([texts[index] for index in wordy], total, counter)
    for index, share in zip(wordy, shares, strict=True):
        counts[index] = share
    return tuple(counts)


def _shares(texts: Sequence[str], total: int | None, counter: Counter | None) -> tuple[int, ...]:
    if total == len(texts):
        return (1,) * len(texts)
    if counter is not None:
        ends = [counter("".join(texts[: index + 1])) for index in range(len(texts))]
        shares = tuple(after - before for before, after in pairwise((0, *ends)))
        if min(shares) >= 1 and total in (None, ends[-1]):
            return shares
        total = ends[-1] if total is None else total
    return even(max(total or 0, len(texts)), len(texts))


def even(total: int, parts: int) -> tuple[int, ...]:
    """`total` in so many parts that differ by one at most, spread evenly."""
    return tuple(total * (part + 1) // parts - total * part // parts for part in range(parts))
