"""Owns what the next token may be: its exact distribution from logits, seen ids and sampling parameters, in float64.

The definitions are those of transformers' processors, in the order repetition penalty, temperature, top-k, top-p. It
must not know how anybody samples, nor what is done with the draws.

Boundaries, once and for all: the token whose probability crosses top-p belongs. Of tokens that are tied at a boundary,
or closer to it than rounding can tell, any may stay and any may go: they are `allowed` but not `required`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from perfsuite.core.boundaries import Bounds, Floats, Mask, within_top_k, within_top_p
from perfsuite.core.rounding import Precision
from perfsuite.core.workload import SamplingParams


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """What one draw depends on: logits [V], the row's own ids and the parameters.

    `others` are the ids of the other rows of the batch, the row before first; nothing must depend on them. `precision`
    is the sampler's. `unseen` [V] are ids that an answer does not tell, so that nothing may rest on their frequency.
    """

    logits: Floats
    params: SamplingParams
    prompt: tuple[int, ...] = ()
    generated: tuple[int, ...] = ()
    others: tuple[tuple[int, ...], ...] = ()
    precision: Precision = field(default_factory=Precision)
    unseen: Mask | None = None

    @property
    def seen(self) -> tuple[int, ...]:
        return (*self.prompt, *self.generated)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NextToken:
    """The distribution of one next token over V ids.

    `scores` are the logits after penalty and temperature, up to `errors` off where they are compared with a boundary,
    and up to `slack` where they are turned into probabilities. Every correct sampler can draw what is
    `required` and none what is not `allowed`; `kept` are the tokens that the definition keeps to the letter, those
    tied at a boundary included.
    """

    scores: Floats
    errors: Floats
    slack: Floats
    required: Mask
    allowed: Mask
    kept: Mask

    @property
    def optional(self) -> Mask:
        return self.allowed & ~self.required

    @property
    def probabilities(self) -> Floats:
        """By the letter of the definition, [V], summing to 1."""
        return np.exp(log_normalised(self.scores, self.kept))


def next_token(context: Context) -> NextToken:
    """The oracle. ValueError for logits that are NaN or +inf, or none of which is finite."""
    check_logits(context.logits)
    params = context.params
    scores = penalised(context.logits, seen_mask(context.seen, len(context.logits)), params.repetition_penalty)
    found = from_scores(scores, params, context.precision)
    return found if context.unseen is None else replace(found, required=found.required & ~context.unseen)


def from_scores(penalised_scores: Floats, params: SamplingParams, precision: Precision) -> NextToken:
    """Temperature, top-k and top-p on scores [V] after the penalty; temperature 0 or top-k 1 is greedy."""
    gain = max(params.repetition_penalty, 1 / params.repetition_penalty)
    if params.is_greedy:
        return _greedy(penalised_scores, precision.boundary_errors(penalised_scores, gain))
    scores = penalised_scores / params.temperature
    errors = precision.boundary_errors(scores, gain / params.temperature)
    bounds = Bounds(low=scores - errors, high=scores + errors)
    required, allowed = within_top_k(bounds, params.top_k)
    required, allowed = within_top_p(
        bounds, required, allowed, top_p=params.top_p, margin=precision.sum_error(int(allowed.sum()))
    )
    return NextToken(
        scores=scores,
        errors=errors,
        slack=precision.frequency_errors(scores, gain / params.temperature),
        required=required,
        allowed=allowed,
        kept=kept_by_definition(scores, params),
    )


def check_logits(logits: Floats) -> None:
    """ValueError that names the first logit which no probability can come from."""
    wrong = np.flatnonzero(np.isnan(logits) | (logits == np.inf))
    if wrong.size:
        raise ValueError(f"the logit of token {wrong[0]} is {logits[wrong[0]]}")
    if not np.isfinite(logits).any():
        raise ValueError("no logit is finite")


def seen_mask(ids: Iterable[int], vocabulary: int) -> Mask:
    """Which of the vocabulary's ids were seen, [V]; ids beyond it have no logit and count for nothing."""
    mask = np.zeros(vocabulary, dtype=bool)
    mask[[token for token in ids if 0 <= token < vocabulary]] = True
    return mask


def penalised(logits: Floats, seen: Mask, penalty: float) -> Floats:
    """Logits [V] in which seen tokens are divided by the penalty, negative ones multiplied (Keskar et al. 2019)."""
    changed = np.where(logits < 0, logits * penalty, logits / penalty)
    return np.where(seen, changed, logits)


def log_normalised(scores: Floats, kept: Mask) -> Floats:
    """Logarithms of the probabilities over what is kept, -inf elsewhere."""
    within = np.where(kept, scores, -np.inf)
    shifted = within - within.max()
    result: Floats = shifted - np.log(np.exp(shifted).sum())
    return result


def kept_by_definition(scores: Floats, params: SamplingParams) -> Mask:
    """What top-k and top-p keep if nothing is rounded, with all tokens tied at a boundary."""
    kept = np.isfinite(scores)
    if params.top_k and params.top_k < len(scores):
        kept &= scores >= np.partition(scores, -params.top_k)[-params.top_k]
    if params.top_p < 1:
        among = np.flatnonzero(kept)
        weights = np.exp(log_normalised(scores[among], np.ones_like(among, dtype=bool)))
        kept[among] = _mass_above(weights) < params.top_p
    return kept


def _mass_above(weights: Floats) -> Floats:
    """For each weight [V] the sum of all that are larger."""
    ascending = np.sort(weights)
    cumulated = np.concatenate([np.cumsum(ascending[::-1])[::-1], [0.0]])
    result: Floats = cumulated[np.searchsorted(ascending, weights, side="right")]
    return result


def _greedy(scores: Floats, errors: Floats) -> NextToken:
    allowed = scores + errors >= (scores - errors).max()
    allowed &= np.isfinite(scores)
    required = allowed if allowed.sum() == 1 else np.zeros_like(allowed)
    first = np.zeros_like(allowed)
    first[scores.argmax()] = True
    return NextToken(scores=scores, errors=errors, slack=errors, required=required, allowed=allowed, kept=first)
