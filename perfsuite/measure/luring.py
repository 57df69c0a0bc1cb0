"""Owns the choice of prompts that bring a live strategy to an end-of-sequence id within a few tokens."""

from collections.abc import Iterator
from itertools import chain, islice

import numpy as np

from perfsuite.core.boundaries import Floats
from perfsuite.core.oracle import penalised, seen_mask
from perfsuite.core.workload import SamplingParams, Workload
from perfsuite.measure.strategy import Ability, ExposesLogits, Prompts, Strategy

ENDING = SamplingParams(temperature=0, repetition_penalty=0.01)
"""Greedy, and ids that were seen are so much likelier that a row hardly leaves those of its prompt."""
TRIES = 16
"""Batches of prompts at most."""
POOL, LIKED = 64, 8
"""Ids tried to be followed by an end, and those kept."""
CANDIDATES = 256
"""Rows looked at for one that ends."""
DEPTH = 4
"""Tokens within which it must."""

Row = tuple[int, ...]


def luring_prompts(strategy: Strategy, workload: Workload, ends: tuple[int, ...]) -> Iterator[Prompts]:
    """Batches of rows that differ; where logits are shown, the first begins with a row that ends soon by them.

    Under ENDING a row hardly leaves its own ids: one of `ends`, one that an end likes to follow, and one of any kind.
    """
    draw = np.random.default_rng([workload.seed, workload.prompt_tokens, TRIES])
    pool = draw.integers(0, strategy.facts().vocabulary, size=POOL).tolist()
    if not isinstance(strategy, ExposesLogits) or Ability.LOGITS not in strategy.abilities:
        rows = _rows(pool, strategy.facts().vocabulary, ends, workload.prompt_tokens, draw)
    else:
        liked = _liked(strategy, pool, ends, workload.prompt_tokens)
        rows = _rows(liked, strategy.facts().vocabulary, ends, workload.prompt_tokens, draw)
        ending, others = _search(strategy, rows, ends, workload.batch_size - 1)
        yield (ending, *islice(chain(others, rows), workload.batch_size - 1))
    for _ in range(TRIES - 1):
        yield tuple(islice(rows, workload.batch_size))


def _rows(
    pool: list[int], vocabulary: int, ends: tuple[int, ...], length: int, draw: np.random.Generator
) -> Iterator[Row]:
    """Rows without end, of three ids each."""
    while True:
        row = np.full(length, draw.choice(pool))
        row[draw.integers(0, max(length - 1, 1))] = draw.choice(ends)
        row[-1] = draw.integers(0, vocabulary)
        yield tuple(row.tolist())


def _liked(strategy: ExposesLogits, pool: list[int], ends: tuple[int, ...], length: int) -> list[int]:
    """Those ids after which an end is likeliest."""
    likings = [_logits(strategy, (ends[0], *[token] * length)[:length])[ends[0]] for token in pool]
    return [pool[index] for index in np.argsort(likings)[-LIKED:]]


def _search(strategy: ExposesLogits, rows: Iterator[Row], ends: tuple[int, ...], beside: int) -> tuple[Row, list[Row]]:
    """A row that ends after its first token, else one that ends at it or any; and so many `beside` that do not end."""
    good: list[Row] = []
    poor: list[Row] = [next(rows)]
    others: list[Row] = []
    for row in islice(rows, CANDIDATES):
        step = _end_of(strategy, row, ends)
        (others if step is None else good if step else poor).append(row)
        if good and len(others) >= beside:
            break
    return (good or poor[::-1])[0], others


def _end_of(strategy: ExposesLogits, row: Row, ends: tuple[int, ...]) -> int | None:
    """The step, from 0, at which a row comes to an end by its logits under ENDING; `None` if not within DEPTH."""
    ids = row
    for step in range(DEPTH):
        logits = _logits(strategy, ids)
        scores = penalised(logits, seen_mask(ids, len(logits)), ENDING.repetition_penalty)
        ids = (*ids, int(scores.argmax()))
        if ids[-1] in ends:
            return step
    return None


def _logits(strategy: ExposesLogits, row: Row) -> Floats:
    logits: Floats = np.asarray(strategy.next_token_logits((row,)))[0].astype(np.float64)
    return logits
