"""Owns the choice of prompts at which a strategy that reads its parameters wrongly shows it soon."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsuite.core.answer import check_logits
from perfsuite.core.boundaries import Floats
from perfsuite.core.draws import tally
from perfsuite.core.oracle import Context
from perfsuite.core.rounding import precision_of
from perfsuite.core.workload import Workload
from perfsuite.measure.standard import Standard
from perfsuite.measure.strategy import Prompts

CANDIDATES = 24
LIKELY = 12
ENOUGH = 0.05
"""Nats per draw beyond which a misreading is excluded soon enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Prompts of one length to choose from: `likely` [C, L] with the logits that follow them [C, V], and others."""

    likely: NDArray[np.int64]
    logits: Floats
    of_any_ids: NDArray[np.int64]


def candidate_prompts(standard: Standard, vocabulary: int, workload: Workload) -> Candidates:
    """Drawn from the workload's seed, and so the same whatever parameters they are to be used under.

    They are made of tokens that are likely to come next, as a repetition penalty on others changes nothing.
    """
    draw = np.random.default_rng([workload.seed, CANDIDATES])
    prompts = of_any_ids = draw.integers(0, vocabulary, size=(CANDIDATES, workload.prompt_tokens))
    for _ in range(2):
        likely = np.argsort(-_logits_one_by_one(standard, prompts), axis=1)[:, :LIKELY]
        prompts = np.array([_arranged(draw.permutation(row), workload.prompt_tokens) for row in likely])
    return Candidates(likely=prompts, logits=_logits_one_by_one(standard, prompts), of_any_ids=of_any_ids)


def telling_prompts(
    standard: Standard, candidates: Candidates, workload: Workload, wanted: frozenset[str] = frozenset()
) -> Prompts:
    """Two prompts in turn over the batch, of all candidates those whose next tokens tell most misreadings apart.

    They are chosen by logits alone, before anything is drawn; by how soon the misreadings `wanted` show there, or all
    if there are none. What none of them shows may show later on, behind prompts of ids that do not come next. No
    prompts where logits are no numbers.
    """
    rows = candidates.logits
    if check_logits(rows):
        return ()
    asked = [tuple(prompt) for prompt in candidates.likely.tolist()]
    precision = precision_of(standard.dtype, rows, standard.layers, same_pass=standard.is_own)
    contexts = (
        Context(
            logits=row,
            params=workload.sampling,
            prompt=prompt,
            precision=precision,
            unseen=standard.unseen(rows.shape[1]),
        )
        for row, prompt in zip(rows, asked, strict=True)
    )
    scores = [_told(context, wanted) for context in contexts]
    if not any(scores):
        asked = [tuple(prompt) for prompt in candidates.of_any_ids.tolist()]
    best = np.argsort(scores)[::-1]
    return tuple(asked[best[row % 2]] for row in range(workload.batch_size))


def _arranged(ids: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """A prompt [L] that begins and ends with ids that it has once, and has some of the others twice."""
    twice = ids[1 : 1 + length // 4]
    body = np.resize(np.concatenate([ids[:1], twice, ids[1:-1]]), max(length - 1, 0))
    return np.append(body, ids[-1])


def _logits_one_by_one(standard: Standard, prompts: NDArray[np.int64]) -> Floats:
    return np.array([standard.read((tuple(prompt),))[0] for prompt in prompts.tolist()])


def _told(context: Context, wanted: frozenset[str]) -> float:
    """How much one draw tells of these misreadings together, each up to ENOUGH."""
    rivals = (rival for rival in tally(context).rivals if not wanted or rival.name in wanted)
    return sum(min(rival.nats, ENOUGH) for rival in rivals)
