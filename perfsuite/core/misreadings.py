"""Owns the ways in which samplers are known to get their parameters wrong, each as the distribution that it gives.

It must not know what was drawn: whether a misreading happened is for the checks to say.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from perfsuite.core.boundaries import Floats, Mask
from perfsuite.core.oracle import Context, NextToken, from_scores, next_token, penalised, seen_mask
from perfsuite.core.problem import Property
from perfsuite.core.workload import SamplingParams


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Misreading:
    """One wrong way to read the parameters, and the distribution of the next token that it leads to.

    A subtle one is a degree of wrongness rather than a mistake: it is shown where it shows, but nobody waits for it.
    """

    name: str
    property: Property
    token: NextToken
    is_subtle: bool = False


def misreadings(context: Context) -> tuple[Misreading, ...]:
    """Every known way to get this context wrong; none if it is greedy, which a look at one draw decides."""
    if context.params.is_greedy:
        return ()
    params = context.params
    changed = (
        Misreading(name=name, property=Property.EFFECT, token=next_token(replace(context, params=other)))
        for name, other in _other_params(params)
    )
    return (*changed, *_inexact(context), *_wrong_cuts(context), *_wrong_penalties(context), *_wrong_order(context))


def _inexact(context: Context) -> Iterator[Misreading]:
    for change, factor in (("too high", 1.1), ("too low", 1 / 1.1)):
        params = replace(context.params, temperature=context.params.temperature * factor)
        token = next_token(replace(context, params=params))
        name = f"the temperature is 10 % {change}"
        yield Misreading(name=name, property=Property.EFFECT, token=token, is_subtle=True)


def _other_params(params: SamplingParams) -> Iterator[tuple[str, SamplingParams]]:
    """The sampler does as if it had been given these."""
    off = SamplingParams(seed=params.seed)
    if params.temperature != 1:
        yield "temperature is ignored", replace(params, temperature=1.0)
        yield "temperature is applied twice", replace(params, temperature=params.temperature**2)
        yield "logits are multiplied by the temperature", replace(params, temperature=1 / params.temperature)
    if params.top_k:
        yield "top-k is ignored", replace(params, top_k=0)
        yield "top-k keeps one token too many", replace(params, top_k=params.top_k + 1)
        yield "top-k keeps one token too few", replace(params, top_k=params.top_k - 1)
    if params.top_p < 1:
        yield "top-p is ignored", replace(params, top_p=1.0)
    if params != off:
        yield "all parameters are ignored", off
    if params != replace(off, temperature=params.temperature):
        yield "all parameters but the temperature are ignored", replace(off, temperature=params.temperature)
    yield "the likeliest token is always taken", replace(params, temperature=0.0)


def _wrong_cuts(context: Context) -> Iterator[Misreading]:
    """top-p with one token too few or too many; nothing where the boundary itself is open."""
    token = next_token(context)
    if context.params.top_p == 1 or token.optional.any():
        return
    by_score = np.argsort(-token.scores, kind="stable")
    kept = int(token.required.sum())
    if kept > 1:
        yield _best(token, by_score[: kept - 1], "top-p keeps one token too few")
    if np.isfinite(token.scores[~token.allowed]).any():
        yield _best(token, by_score[: kept + 1], "top-p keeps one token too many")


def _best(token: NextToken, ids: NDArray[np.intp], name: str) -> Misreading:
    kept = np.zeros_like(token.kept)
    kept[ids] = True
    cut = replace(token, required=kept, allowed=kept, kept=kept)
    return Misreading(name=name, property=Property.EFFECT, token=cut)


Penalise = Callable[[Context, Mask], Floats]


def _on_ids(choose: Callable[[Context], tuple[int, ...]]) -> Penalise:
    def penalise(context: Context, _: Mask) -> Floats:
        logits, penalty = context.logits, context.params.repetition_penalty
        return penalised(logits, seen_mask(choose(context), len(logits)), penalty)

    return penalise


def _divided(context: Context, seen: Mask) -> Floats:
    return np.where(seen, context.logits / context.params.repetition_penalty, context.logits)


def _multiplied(context: Context, seen: Mask) -> Floats:
    return np.where(seen, context.logits * context.params.repetition_penalty, context.logits)


def _inverted(context: Context, seen: Mask) -> Floats:
    return penalised(context.logits, seen, 1 / context.params.repetition_penalty)


def _twice(context: Context, seen: Mask) -> Floats:
    return penalised(context.logits, seen, context.params.repetition_penalty**2)


def _every_time(context: Context, _: Mask) -> Floats:
    scores: Floats = context.logits.copy()
    each = np.ones(1, dtype=bool)
    for token in context.seen:
        if 0 <= token < len(scores):
            scores[[token]] = penalised(scores[[token]], each, context.params.repetition_penalty)
    return scores


_PENALTIES: Mapping[str, Penalise] = MappingProxyType(
    {
        "the penalty is ignored": _on_ids(lambda _: ()),
        "the penalty is applied twice": _twice,
        "the penalty is applied once for every time that an id occurs": _every_time,
        "the penalty divides negative logits, too": _divided,
        "the penalty multiplies positive logits, too": _multiplied,
        "the penalty makes seen tokens likelier": _inverted,
        "the penalty falls on the prompt alone": _on_ids(lambda context: context.prompt),
        "the penalty falls on the generated ids alone": _on_ids(lambda context: context.generated),
        "the penalty leaves the last id out": _on_ids(lambda context: context.seen[:-1]),
        "the penalty leaves the first id out": _on_ids(lambda context: context.seen[1:]),
        "the penalty falls on another row's ids": _on_ids(
            lambda context: context.others[0] if context.others else context.seen
        ),
        "the penalty falls on the ids of all rows": _on_ids(
            lambda context: (*context.seen, *(token for row in context.others for token in row))
        ),
    }
)


def _wrong_penalties(context: Context) -> Iterator[Misreading]:
    if context.params.repetition_penalty == 1:
        return
    seen = seen_mask(context.seen, len(context.logits))
    for name, penalise in _PENALTIES.items():
        token = from_scores(penalise(context, seen), context.params, context.precision)
        yield Misreading(name=name, property=Property.PENALTY, token=token)


def _wrong_order(context: Context) -> Iterator[Misreading]:
    """top-p taken before the temperature: other tokens stay."""
    params = context.params
    if params.temperature == 1 or params.top_p == 1:
        return
    token = next_token(context)
    before = next_token(replace(context, params=replace(params, temperature=1.0)))
    other = replace(token, required=before.required, allowed=before.allowed, kept=before.kept)
    yield Misreading(name="top-p comes before the temperature", property=Property.EFFECT, token=other)
