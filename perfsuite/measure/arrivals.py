"""Owns what the chunks of one call amount to: when tokens arrived, and what is wrong with an answer."""

from collections.abc import Sequence
from itertools import groupby

from perfsuite.core.sample import Chunk, Request

Stamps = Sequence[tuple[int, Chunk]]
"""Each chunk with the time at which it was on the host."""
Counts = tuple[int, ...] | None
"""How many tokens each chunk held, where their ids do not say it."""


def arrivals(
    start_ns: int, stamps: Stamps, rows: int, counts: Counts = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Times since `start_ns` of the events, and the tokens of one row that came with each.

    With a batch a token has arrived when the slowest row has it; tokens that arrive at one instant are one event.
    """
    times = _token_times(start_ns, stamps, rows, counts)
    return _events([max(row_times) for row_times in zip(*times, strict=True)])


def rows_of(start_ns: int, stamps: Stamps, rows: int, counts: Counts = None) -> dict[str, tuple[tuple[int, ...], ...]]:
    """`rows_ns` and `rows_tokens` of a sample whose rows are requests of their own; nothing for a single one."""
    if rows == 1:
        return {}
    events = [_events(own) for own in _token_times(start_ns, stamps, rows, counts)]
    return {"rows_ns": tuple(times for times, _ in events), "rows_tokens": tuple(tokens for _, tokens in events)}


def _token_times(start_ns: int, stamps: Stamps, rows: int, counts: Counts) -> list[list[int]]:
    """When each token of each row came."""
    times: list[list[int]] = [[] for _ in range(rows)]
    for (stamp_ns, chunk), count in zip(stamps, _held(stamps, counts), strict=True):
        times[chunk.row].extend([stamp_ns - start_ns] * count)
    return times


def _events(times: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    events = [(time_ns, len(list(group))) for time_ns, group in groupby(times)]
    return tuple(time_ns for time_ns, _ in events), tuple(count for _, count in events)


def _held(stamps: Stamps, counts: Counts) -> tuple[int, ...]:
    return tuple(len(chunk.token_ids) for _, chunk in stamps) if counts is None else counts


def answer_problem(stamps: Stamps, request: Request, vocabulary: int, counts: Counts = None) -> str | None:
    """What is wrong with the answer: a row without its tokens, an id the model does not have; `None` if nothing."""
    held = _held(stamps, counts)
    if len(held) != len(stamps):
        return f"the tokens of {len(held)} chunks were counted where {len(stamps)} came"
    given = [0] * len(request.prompts)
    for (_, chunk), count in zip(stamps, held, strict=True):
        if not 0 <= chunk.row < len(given):
            return f"a chunk came for row {chunk.row} of a batch of {len(given)}"
        wrong = [token for token in chunk.token_ids if not 0 <= token < vocabulary]
        if wrong:
            return f"token id {wrong[0]} is outside the vocabulary of {vocabulary}"
        given[chunk.row] += count
    short = [(row, count) for row, count in enumerate(given) if count != request.output_tokens]
    if short:
        row, count = short[0]
        return f"row {row} gave {count} tokens where {request.output_tokens} were asked for"
    return None
