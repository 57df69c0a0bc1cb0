"""Owns the choice of prompts at which a strategy that reads its parameters wrongly shows it soon."""

import numpy as np
from numpy.typing import NDArray

from perfsuite.core.answer import check_logits
from perfsuite.core.boundaries import Floats
from perfsuite.core.draws import tally
from perfsuite.core.oracle import Context
from perfsuite.core.workload import Workload
from perfsuite.measure.strategy import ExposesLogits, Prompts

CANDIDATES = 24
LIKELY = 12
ENOUGH = 0.05
"""Nats per draw beyond which a misreading is excluded soon enough."""


def telling_prompts(strategy: ExposesLogits, workload: Workload, vocabulary: int) -> Prompts:
    """Two prompts in turn over the batch, of those tried the ones whose next tokens tell most misreadings apart.

    Prompts are made of tokens that are likely to come next, as a repetition penalty on others changes nothing. They are
    chosen by logits alone, before anything is drawn. None where logits are no numbers.
    """
    draw = np.random.default_rng([workload.seed, CANDIDATES])
    prompts = draw.integers(0, vocabulary, size=(CANDIDATES, workload.prompt_tokens))
    for _ in range(2):
        likely = np.argsort(-_logits_one_by_one(strategy, prompts), axis=1)[:, :LIKELY]
        prompts = np.array([_arranged(draw.permutation(row), workload.prompt_tokens) for row in likely])
    rows = _logits_one_by_one(strategy, prompts)
    if check_logits(rows):
        return ()
    asked = [tuple(prompt) for prompt in prompts.tolist()]
    scores = [
        _told(Context(logits=row, params=workload.sampling, prompt=p)) for row, p in zip(rows, asked, strict=True)
    ]
    best = np.argsort(scores)[::-1]
    return tuple(asked[best[row % 2]] for row in range(workload.batch_size))


def _arranged(ids: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """A prompt [L] that begins and ends with ids that it has once, and has some of the others twice."""
    twice = ids[1 : 1 + length // 4]
    body = np.resize(np.concatenate([ids[:1], twice, ids[1:-1]]), max(length - 1, 0))
    return np.append(body, ids[-1])


def _logits_one_by_one(strategy: ExposesLogits, prompts: NDArray[np.int64]) -> Floats:
    rows = [np.asarray(strategy.next_token_logits((tuple(prompt),)))[0] for prompt in prompts.tolist()]
    return np.array(rows, dtype=np.float64)


def _told(context: Context) -> float:
    """How much one draw tells of all misreadings together, each up to ENOUGH."""
    return sum(min(rival.nats, ENOUGH) for rival in tally(context).rivals)
