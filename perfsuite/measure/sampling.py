"""Owns the question whether an open strategy's sampling can be checked, and the check of it under one workload."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from perfsuite.core.sampling_check import SamplingCheck
from perfsuite.core.workload import SamplingParams, Workload
from perfsuite.measure.allowance import Allowance
from perfsuite.measure.asking import Asking
from perfsuite.measure.inquiry import Effort, Inquiry
from perfsuite.measure.standard import standard_of
from perfsuite.measure.strategy import Ability, Prompts, Strategy


def check_sampling(
    strategy: Strategy,
    workload: Workload,
    effort: Effort,
    prompts: Prompts = (),
    *,
    on_request: Callable[[], object] = lambda: None,
    allowance: Allowance | None = None,
) -> SamplingCheck:
    """Whether what an open strategy draws under a workload's parameters is what the oracle says.

    `prompts` replace those drawn from the workload's seed. Where neither the strategy shows logits nor a reference can,
    nothing is checked; where it answers in text, only the first token of an answer is looked at.
    `on_request` is called before the strategy is asked anything, as a sign of life. What the `allowance` has no time
    for is left out and said; by default there is no end to it.
    """
    lacking = sorted(ability.value for ability in needed(workload.sampling) - strategy.abilities)
    if lacking:
        return SamplingCheck(not_checked=f"strategy {strategy.name!r} does not apply {', '.join(lacking)}")
    on_request()
    standard = standard_of(strategy)
    if isinstance(standard, str):
        return SamplingCheck(not_checked=standard)
    asked = prompts or _prompts(strategy, workload)
    if standard.speech is not None:
        workload, asked = replace(workload, output_tokens=1), standard.speech.spelled(asked)
    asking = Asking(strategy=strategy, standard=standard, workload=workload, prompts=asked, on_request=on_request)
    return Inquiry(asking, allowance or Allowance()).conduct(effort)


def needed(params: SamplingParams) -> frozenset[Ability]:
    """What a strategy must be able to do so that its draws under these parameters can be checked."""
    wanted = {
        Ability.TEMPERATURE: params.temperature != 1,
        Ability.TOP_K: params.top_k > 0,
        Ability.TOP_P: params.top_p < 1,
        Ability.REPETITION_PENALTY: params.repetition_penalty != 1,
        Ability.SEED: not params.is_greedy,
    }
    return frozenset(ability for ability, is_needed in wanted.items() if is_needed)


def _prompts(strategy: Strategy, workload: Workload) -> Prompts:
    """Two prompts in turn over the rows of the batch, so that neighbours differ and draws at each add up."""
    draw = np.random.default_rng([workload.seed, workload.prompt_tokens])
    both = draw.integers(0, strategy.facts().vocabulary, size=(2, workload.prompt_tokens)).tolist()
    return tuple(tuple(both[row % 2]) for row in range(workload.batch_size))
