"""Owns the contexts at which a sampler is examined: small vocabularies on which every known misreading shows early.

It draws them from a seed and must not know how a sampler is called.
"""

from dataclasses import dataclass

import numpy as np

from perfsuite.core.boundaries import Floats
from perfsuite.core.oracle import Context
from perfsuite.core.workload import SamplingParams

VOCABULARY = 24
LIKELY = 8
"""So many tokens hold most of the probability; the ids of prompts and answers are among them."""
SPREAD = 1.4
"""Standard deviation of the logits."""
FAR_OFF = 30.0
"""Added to or taken from all logits of a row: no distribution changes, but exp() overflows or vanishes in half."""
FORCED = 60.0
"""The logit of a token that is certain to be drawn, and so becomes a generated id."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """Rows [R] that are asked together under one set of parameters.

    `prompts` [R, L] come first, then `generated` [R, G] one after the other, each drawn because `forced` makes it
    certain; then logits [R, V] whose next token is in question.
    """

    params: SamplingParams
    logits: Floats
    prompts: tuple[tuple[int, ...], ...]
    generated: tuple[tuple[int, ...], ...]

    @property
    def rows(self) -> int:
        return len(self.prompts)

    def context(self, row: int) -> Context:
        """What the draws of one row depend on, and what they must not depend on."""
        others = [(row - distance) % self.rows for distance in range(1, self.rows)]
        return Context(
            logits=self.logits[row],
            params=self.params,
            prompt=self.prompts[row],
            generated=self.generated[row],
            others=tuple((*self.prompts[other], *self.generated[other]) for other in others),
        )

    def forced(self, step: int) -> Floats:
        """Logits [R, V] that leave no choice but the generated token of this step."""
        logits = np.zeros_like(self.logits)
        for row, tokens in enumerate(self.generated):
            logits[row, tokens[step]] = FORCED
        return logits


def questions(seed: int) -> tuple[Question, ...]:
    """One question for each parameter alone, for all together, and for parameters drawn from the seed."""
    draw = np.random.default_rng(seed)
    alone = (
        SamplingParams(temperature=0.5),
        SamplingParams(temperature=1.8),
        SamplingParams(top_k=5),
        SamplingParams(top_p=0.8),
        SamplingParams(repetition_penalty=1.8),
        SamplingParams(temperature=0.7, top_k=8, top_p=0.85, repetition_penalty=1.4),
    )
    return tuple(question(params, draw) for params in (*alone, _drawn_params(draw), _drawn_params(draw)))


def question(params: SamplingParams, draw: np.random.Generator) -> Question:
    """Four rows: positive and negative logits among the likely ones, and two far from zero."""
    offsets = (1.0, -2.5, FAR_OFF, -FAR_OFF) if params.repetition_penalty == 1 else (1.0, -2.5, 2.0, -1.5)
    logits = np.array([_row(offset, draw) for offset in offsets])
    likely = [np.argsort(-row)[:LIKELY] for row in logits]
    ids = [draw.permutation(best) for best in likely]
    return Question(
        params=params,
        logits=logits,
        prompts=tuple(_prompt(row, draw) for row in ids),
        generated=tuple((int(row[-2]), int(row[-1])) for row in ids),
    )


def _row(offset: float, draw: np.random.Generator) -> Floats:
    """Logits [V] whose likely tokens lie around the offset, none of them alone."""
    logits = draw.normal(-2.5, SPREAD / 2, VOCABULARY)
    likely = draw.permutation(VOCABULARY)[:LIKELY]
    logits[likely] = draw.permutation(np.linspace(-SPREAD, SPREAD, LIKELY)) + draw.normal(0, 0.1, LIKELY)
    result: Floats = (logits + offset).astype(np.float32).astype(np.float64)
    return result


def _prompt(ids: Floats, draw: np.random.Generator) -> tuple[int, ...]:
    """Three likely ids, one of them twice, and one of any kind."""
    first, second, third = (int(token) for token in ids[:3])
    return (first, second, first, int(draw.integers(VOCABULARY)), third)


def _drawn_params(draw: np.random.Generator) -> SamplingParams:
    return SamplingParams(
        temperature=float(draw.choice([0.4, 0.6, 1.5, 2.0])),
        top_k=int(draw.choice([0, 3, 6, 50])),
        top_p=float(draw.choice([0.6, 0.75, 0.9])),
        repetition_penalty=float(draw.choice([0.7, 1.3, 2.0])),
    )
