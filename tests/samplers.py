"""Owns samplers that are right and samplers that are wrong in one way each, as they are found in the wild."""

from dataclasses import replace

import torch
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from perfsuite.core.workload import SamplingParams
from perfsuite.strategies._sampler import mark_seen, sample


def perfsuites_own(logits, ids, params, generator):
    seen = torch.zeros_like(logits, dtype=torch.bool)
    mark_seen(seen, ids)
    return sample(logits, seen, params, generator)


def of_transformers(logits, ids, params, generator):
    """Transformers' processors as `generate` chains them, then torch.multinomial."""
    scores = logits
    if params.repetition_penalty != 1:
        scores = RepetitionPenaltyLogitsProcessor(params.repetition_penalty)(ids, scores)
    if params.is_greedy:
        return scores.argmax(dim=-1)
    return drawn(cut(TemperatureLogitsWarper(params.temperature)(ids, scores), params), generator)


def cut(scores, params):
    if params.top_k:
        scores = TopKLogitsWarper(params.top_k)(None, scores)
    return TopPLogitsWarper(params.top_p)(None, scores) if params.top_p < 1 else scores


def drawn(scores, generator):
    return torch.multinomial(scores.softmax(dim=-1), 1, generator=generator).squeeze(1)


def with_params(change):
    """A sampler that does as if it had been given other parameters."""

    def sampler(logits, ids, params, generator):
        return of_transformers(logits, ids, params if params.is_greedy else change(params), generator)

    return sampler


def with_scores(change):
    """A sampler that puts its own penalty in the place of transformers'."""

    def sampler(logits, ids, params, generator):
        seen = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, ids, True)
        scores = change(logits, seen, ids, params.repetition_penalty)
        return of_transformers(scores, ids, replace(params, repetition_penalty=1.0), generator)

    return sampler


def penalised(logits, ids, penalty):
    return RepetitionPenaltyLogitsProcessor(penalty)(ids, logits)


def top_p_cut(offset):
    """Top-p that keeps `offset` tokens more than it should."""

    def sampler(logits, ids, params, generator):
        if params.is_greedy or params.top_p == 1:
            return of_transformers(logits, ids, params, generator)
        scores = penalised(logits, ids, params.repetition_penalty) / params.temperature
        scores = cut(scores, replace(params, top_p=1.0))
        ranked, order = scores.softmax(dim=-1).sort(dim=-1, descending=True)
        kept = (ranked.cumsum(dim=-1) - ranked < params.top_p).sum(dim=-1, keepdim=True) + offset
        dropped = torch.arange(scores.shape[1]).expand_as(order) >= kept.clamp(min=1)
        return drawn(scores.masked_fill(torch.zeros_like(dropped).scatter(1, order, dropped), -torch.inf), generator)

    return sampler


def half_precision_softmax(logits, ids, params, generator):
    """exp() without taking the largest score off first; half precision ends at 65504, which is exp(11.1)."""
    if params.is_greedy:
        return of_transformers(logits, ids, params, generator)
    scores = cut(penalised(logits, ids, params.repetition_penalty) / params.temperature, params)
    weights = scores.half().exp()
    probabilities = (weights / weights.sum(dim=-1, keepdim=True)).float()
    race = torch.empty_like(probabilities).exponential_(generator=generator)
    return (probabilities / race).argmax(dim=-1)


def constant_random_state(logits, ids, params, generator):
    return of_transformers(logits, ids, params, torch.Generator().manual_seed(1234))


def same_numbers_for_all_rows(logits, ids, params, generator):
    """A captured graph whose random numbers are made for one row and read by all."""
    if params.is_greedy:
        return of_transformers(logits, ids, params, generator)
    scores = cut(penalised(logits, ids, params.repetition_penalty) / params.temperature, params)
    race = torch.empty(1, logits.shape[1]).exponential_(generator=generator)
    return (scores.softmax(dim=-1) / race).argmax(dim=-1)


class ReplayedRandomNumbers:
    """A captured graph that draws its random numbers when it is captured and replays them ever after."""

    def __init__(self):
        self._states = {}

    def __call__(self, logits, ids, params, generator):
        state = self._states.setdefault(generator.initial_seed(), generator.get_state())
        return of_transformers(logits, ids, params, torch.Generator().set_state(state))


class PromptOnly:
    """Marks the ids of the prompt when a sequence begins, and never those that it draws itself."""

    def __init__(self):
        self._prompt = None

    def __call__(self, logits, ids, params, generator):
        if self._prompt is None or ids.shape[1] <= self._length:
            self._prompt = ids
        self._length = ids.shape[1]
        return of_transformers(logits, self._prompt, params, generator)


def seeds_sampler(logits, ids, config, generator):
    """As it stands in the code that this project began with: top-k, top-p and the penalty are set and never used."""
    next_token_logits = logits
    if config.temperature > 0:
        scaled_logits = next_token_logits / config.temperature
        probs = torch.softmax(scaled_logits, dim=-1)
        next_token_id = torch.multinomial(probs, 1, generator=generator).squeeze(1)
    else:
        next_token_id = torch.argmax(next_token_logits, dim=-1)
    return next_token_id


def top_p_before_temperature(logits, ids, params, generator):
    if params.is_greedy or params.top_p == 1:
        return of_transformers(logits, ids, params, generator)
    scores = penalised(logits, ids, params.repetition_penalty)
    kept = cut(scores, replace(params, top_k=0))
    return drawn(cut(kept / params.temperature, replace(params, top_p=1.0)), generator)


def unscaled(logits, ids, params, generator):
    """The temperature is taken into account for the cut, then the raw logits are drawn from."""
    if params.is_greedy:
        return of_transformers(logits, ids, params, generator)
    scores = penalised(logits, ids, params.repetition_penalty)
    kept = cut(scores / params.temperature, params) > -torch.inf
    return drawn(logits.masked_fill(~kept, -torch.inf), generator)


def ids_of_next_row(logits, ids, params, generator):
    return of_transformers(logits, ids.roll(1, dims=0), params, generator)


def ids_of_all_rows(logits, ids, params, generator):
    return of_transformers(logits, ids.unique().expand(len(ids), -1), params, generator)


def divided_whatever_the_sign(logits, seen, _, penalty):
    return torch.where(seen, logits / penalty, logits)


def multiplied_where_positive(logits, seen, _, penalty):
    return torch.where(seen, torch.where(logits > 0, logits * penalty, logits / penalty), logits)


def once_per_occurrence(logits, _, ids, penalty):
    for place in range(ids.shape[1]):
        logits = penalised(logits, ids[:, place : place + 1], penalty)
    return logits


def ignores_the_generator(logits, ids, params, _):
    return of_transformers(logits, ids, params, None)


def same(sampler):
    """A factory for a sampler without a state."""
    return lambda: sampler


CORRECT = {"perfsuite's own": same(perfsuites_own), "transformers + multinomial": same(of_transformers)}

BROKEN = {
    "temperature ignored": same(with_params(lambda p: replace(p, temperature=1.0))),
    "temperature squared": same(with_params(lambda p: replace(p, temperature=p.temperature**2))),
    "temperature multiplied": same(with_params(lambda p: replace(p, temperature=1 / p.temperature))),
    "top-p ignored": same(with_params(lambda p: replace(p, top_p=1.0))),
    "top-p one token too few": same(top_p_cut(-1)),
    "top-p one token too many": same(top_p_cut(+1)),
    "top-p before temperature": same(top_p_before_temperature),
    "top-k ignored": same(with_params(lambda p: replace(p, top_k=0))),
    "top-k one too few": same(with_params(lambda p: replace(p, top_k=max(p.top_k - 1, 0)))),
    "top-k one too many": same(with_params(lambda p: replace(p, top_k=p.top_k + 1 if p.top_k else 0))),
    "penalty ignored": same(with_params(lambda p: replace(p, repetition_penalty=1.0))),
    "penalty applied twice": same(with_params(lambda p: replace(p, repetition_penalty=p.repetition_penalty**2))),
    "penalty once per occurrence": same(with_scores(once_per_occurrence)),
    "penalty divides negative logits": same(with_scores(divided_whatever_the_sign)),
    "penalty inverted": same(with_scores(multiplied_where_positive)),
    "penalty on the prompt only": PromptOnly,
    "penalty on another row's ids": same(ids_of_next_row),
    "penalty on all rows' ids": same(ids_of_all_rows),
    "temperature 10 % too high": same(with_params(lambda p: replace(p, temperature=p.temperature * 1.1))),
    "sampling from unscaled logits": same(unscaled),
    "all parameters ignored": same(with_params(lambda p: SamplingParams())),
    "always greedy": same(with_params(lambda p: replace(p, temperature=0.0))),
    "fp16 softmax overflow": same(half_precision_softmax),
    "constant random state": same(constant_random_state),
    "replayed random numbers": ReplayedRandomNumbers,
    "one row's random numbers for all": same(same_numbers_for_all_rows),
    "generator ignored": same(ignores_the_generator),
    "the seeds' sampler": same(seeds_sampler),
}
