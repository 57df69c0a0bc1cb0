"""Owns one request to a server with its answers: every row is a request of its own, and all are sent at once."""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor
from dataclasses import replace

from perfsuite.core.sample import Chunk
from perfsuite.strategies._answer import Answer
from perfsuite.strategies._concurrent import merged
from perfsuite.strategies._token_counts import Counter

Ask = Callable[[int, Answer], Generator[Chunk, None, None]]
"""Sends the prompt of a row and reads what comes into its answer."""


class Exchange:
    """The answers of all rows, and in which order their chunks came."""

    def __init__(self, rows: int) -> None:
        self.answers = tuple(Answer() for _ in range(rows))
        self._order: list[tuple[int, int]] = []

    def chunks(self, ask: Ask, pool: Executor) -> Iterator[Chunk]:
        """The chunks of all rows as they come."""
        streams = [ask(row, answer) for row, answer in enumerate(self.answers)]
        for row, chunk in merged(streams, pool):
            self._order.append((row, len(chunk.token_ids)))
            yield replace(chunk, row=row) if row else chunk

    def token_counts(self, counter: Counter | None) -> tuple[int, ...] | None:
        """Tokens of each chunk in the order in which they came; `None` if all have their ids."""
        counted = [answer.token_counts(counter) for answer in self.answers]
        if all(counts is None for counts in counted):
            return None
        each = [None if counts is None else iter(counts) for counts in counted]
        return tuple(ids if (counts := each[row]) is None else next(counts) for row, ids in self._order)
