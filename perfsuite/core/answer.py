"""Owns the shape of an answer: how many tokens came, from which vocabulary, why they ended, and from finite logits."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from perfsuite.core.boundaries import Floats
from perfsuite.core.problem import Problem, Property
from perfsuite.core.sample import Chunk, Request


def check_answer(
    chunks: Sequence[Chunk], request: Request, *, vocabulary: int, eos: Iterable[int] = ()
) -> tuple[Problem, ...]:
    """What is wrong with the answer to a request; `eos` are the ids that end a row unless the request ignores them."""
    stop_ids = frozenset() if request.ignore_eos else frozenset(eos)
    strays = [chunk.row for chunk in chunks if not 0 <= chunk.row < len(request.prompts)]
    if strays:
        return (_problem(f"a chunk came for row {strays[0]} of a batch of {len(request.prompts)}"),)
    found = (
        finding
        for row in range(len(request.prompts))
        for finding in _row([chunk for chunk in chunks if chunk.row == row], request.output_tokens, stop_ids)
    )
    outside = (
        f"token id {token} is outside the vocabulary of {vocabulary}"
        for chunk in chunks
        for token in chunk.token_ids
        if not 0 <= token < vocabulary
    )
    first = next(outside, None) or next(found, None)
    return () if first is None else (_problem(first),)


def check_ending(
    chunks: Sequence[Chunk], request: Request, *, vocabulary: int, eos: Iterable[int]
) -> tuple[Problem, ...]:
    """The same, and that every row says why it ended."""
    wrong = check_answer(chunks, request, vocabulary=vocabulary, eos=eos)
    last = {chunk.row: chunk.finish_reason for chunk in chunks}
    silent = [row for row, reason in sorted(last.items()) if reason is None]
    return wrong or (() if not silent else (_problem(f"row {silent[0]} ended without a finish reason"),))


def _row(chunks: Sequence[Chunk], asked: int, stop_ids: frozenset[int]) -> Iterator[str]:
    tokens = [token for chunk in chunks for token in chunk.token_ids]
    place = f"row {chunks[0].row}" if chunks else "a row"
    stop = next((index for index, token in enumerate(tokens) if token in stop_ids), None)
    wanted = asked if stop is None else stop + 1
    if len(tokens) != wanted:
        ended = "" if stop is None else f", token {stop + 1} of which ends the sequence"
        yield f"{place} gave {len(tokens)} tokens where {asked} were asked for{ended}"
    reason = chunks[-1].finish_reason if chunks else None
    expected = "length" if stop is None else "stop"
    if reason is not None and reason != expected and not (stop == asked - 1 and reason == "length"):
        yield f"{place} ended with finish reason {reason!r} instead of {expected!r}"
    if any(chunk.finish_reason for chunk in chunks[:-1]):
        yield f"{place} went on after a finish reason"


def check_logits(logits: Floats) -> tuple[Problem, ...]:
    """NaN and +inf among logits [B, V], and rows without any finite one; -inf is a token that is ruled out."""
    wrong = np.argwhere(np.isnan(logits) | (logits == np.inf))
    if wrong.size:
        row, token = wrong[0]
        return (_problem(f"the logit of token {token} in row {row} is {logits[row, token]}"),)
    empty = np.flatnonzero(~np.isfinite(logits).any(axis=1))
    return (_problem(f"no logit of row {empty[0]} is finite"),) if empty.size else ()


def _problem(finding: str) -> Problem:
    return Problem(property=Property.ANSWER, finding=finding)
