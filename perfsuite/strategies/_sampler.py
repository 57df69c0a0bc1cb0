"""Owns how the next token is drawn from logits: by transformers' definitions, on the device, without asking the host.

Every branch depends on the parameters alone, never on a tensor's values, so that a draw can be captured in a graph.
"""

import torch
from torch import Tensor

from perfsuite.core.workload import SamplingParams


def sample(logits: Tensor, seen: Tensor | None, params: SamplingParams, generator: torch.Generator) -> Tensor:
    """Token ids [B] (int64) drawn from logits [B, V]; `seen` [B, V] (bool) marks the ids that the penalty falls on."""
    return choose(logits, seen, noise_for(logits, params, generator), params)


def noise_for(logits: Tensor, params: SamplingParams, generator: torch.Generator) -> Tensor | None:
    """What a draw needs of chance: a number from Exp(1) for each token, [B, V] (float32); `None` if it is greedy."""
    if params.is_greedy:
        return None
    return torch.empty_like(logits, dtype=torch.float32).exponential_(generator=generator)


def choose(logits: Tensor, seen: Tensor | None, noise: Tensor | None, params: SamplingParams) -> Tensor:
    """Token ids [B] by an exponential race: argmax of p / Exp(1) is distributed as p, whatever p's sum.

    Greedy takes the largest logit after the penalty. torch.multinomial draws the same way, but checks p on the host.
    """
    scores = penalised(logits, seen, params.repetition_penalty)
    if noise is None:
        return scores.argmax(dim=-1)
    return (_kept_weights(scores, params) / noise).argmax(dim=-1)


def probabilities(logits: Tensor, seen: Tensor | None, params: SamplingParams) -> Tensor:
    """The distribution [B, V] (float32, rows sum to 1) that `sample` draws from; greedy is a single 1."""
    scores = penalised(logits, seen, params.repetition_penalty)
    if params.is_greedy:
        return torch.zeros_like(scores).scatter_(1, scores.argmax(dim=-1, keepdim=True), 1.0)
    weights = _kept_weights(scores, params)
    return weights / weights.sum(dim=-1, keepdim=True)


class Draws:
    """The draws of one request after the other: their generator, and the ids that the penalty falls on.

    `first` and `next` work in place on the same memory for a batch of one size, so that they can be captured.
    """

    def __init__(self, device: torch.device) -> None:
        self._generator = torch.Generator(device)
        self._seen: Tensor | None = None

    def kind(self, params: SamplingParams) -> tuple[float, ...]:
        """What of the parameters a captured draw holds for good."""
        return (params.temperature, params.top_k, params.top_p, params.repetition_penalty)

    def generator_of(self, _: SamplingParams) -> torch.Generator:
        """What a captured draw takes its chance from."""
        return self._generator

    def begin(self, params: SamplingParams) -> None:
        """Begin a request. Not for a graph: a captured draw goes on from where the generator is when it is replayed."""
        self._generator.manual_seed(params.seed)

    def first(self, logits: Tensor, prompts: Tensor, params: SamplingParams, drawn: Tensor) -> None:
        """Ids into `drawn` [B, 1] from logits [B, V] after the prompts [B, L]; what was seen before is forgotten."""
        if params.repetition_penalty != 1:
            self._seen_of(logits).zero_()
        self.next(logits, prompts, params, drawn)

    def next(self, logits: Tensor, ids: Tensor, params: SamplingParams, drawn: Tensor) -> None:
        """Ids into `drawn` [B, 1] from logits [B, V] after the ids [B, L] that the step took in."""
        seen = None
        if params.repetition_penalty != 1:
            seen = self._seen_of(logits)
            mark_seen(seen, ids)
        drawn.copy_(sample(logits, seen, params, self._generator).unsqueeze(1))

    def _seen_of(self, logits: Tensor) -> Tensor:
        if self._seen is None or self._seen.shape != logits.shape:
            self._seen = torch.zeros_like(logits, dtype=torch.bool)
        return self._seen


def mark_seen(seen: Tensor, ids: Tensor) -> None:
    """Mark ids [B, L] in `seen` [B, V] (bool), in place."""
    seen.scatter_(1, ids, True)


def penalised(logits: Tensor, seen: Tensor | None, penalty: float) -> Tensor:
    """Float32 scores in which seen tokens are less likely (RepetitionPenaltyLogitsProcessor; Keskar et al. 2019)."""
    scores = logits.float()
    if seen is None or penalty == 1:
        return scores
    return torch.where(seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)


def _kept_weights(scores: Tensor, params: SamplingParams) -> Tensor:
    """Temperature, top-k, softmax, top-p; the weight of what top-p drops is 0, the others are not rescaled."""
    if params.temperature != 1:
        scores = scores / params.temperature
    if params.top_k:
        best, best_ids = scores.topk(min(params.top_k, scores.shape[-1]), dim=-1)
        scores = scores.masked_fill(scores < best[:, -1:], -torch.inf)  # every token tied with the k-th stays
    weights = scores.softmax(dim=-1)
    if params.top_p == 1:
        return weights
    ranked = weights.gather(1, best_ids) if params.top_k else weights.sort(dim=-1, descending=True).values
    return _top_p(weights, ranked, params.top_p)


def _top_p(weights: Tensor, ranked: Tensor, top_p: float) -> Tensor:
    """Keep the most probable tokens up to and including the one whose cumulated probability crosses `top_p`.

    `ranked` holds the largest weights in descending order. Tokens tied with the crossing one stay too; transformers
    keeps as many of them as its sort happens to put first.
    """
    before = ranked.cumsum(dim=-1) - ranked
    crossing = ranked.masked_fill(before >= top_p, torch.inf).amin(dim=-1, keepdim=True)
    return weights.masked_fill(weights < crossing, 0.0)
