"""Owns the examination of a live strategy: which parameters it is asked under, and what is made of all answers."""

from dataclasses import replace

from perfsuite.core.sampling_check import SamplingCheck, joined
from perfsuite.core.workload import SamplingParams, Workload
from perfsuite.measure.sampling import Effort, check_sampling
from perfsuite.measure.strategy import Ability, ExposesLogits, Strategy
from perfsuite.measure.telling import telling_prompts

PARAMETERS = (
    SamplingParams(temperature=3.0, repetition_penalty=5.0),
    SamplingParams(temperature=0.6, top_k=10, top_p=0.8, repetition_penalty=1.5),
    SamplingParams(temperature=0.5),
    SamplingParams(top_k=8),
    SamplingParams(top_p=0.5),
    SamplingParams(temperature=0.5, repetition_penalty=1.25),
    SamplingParams(temperature=0),
    SamplingParams(temperature=0, repetition_penalty=1.3),
)
"""Each parameter alone and all together, strong enough to show; first where a wrong sign of the penalty shows, though a
trained model hardly ever draws the tokens whose logits are negative."""
PLAIN = SamplingParams()
"""Where every token is possible it shows best whether steps are independent."""
REQUESTS = 256
ROWS_OF_ANSWERS = 24
"""Full answers asked for at most, all rows counted."""


def check_strategy(strategy: Strategy, workload: Workload) -> SamplingCheck:
    """All sampling checks on an open strategy; the workload gives prompt length, answer length, batch size and seed.

    Misreadings that one set of parameters leaves open count as excluded if another one excludes them.
    """
    if workload.batch_size > 1 and Ability.BATCH not in strategy.abilities:
        return SamplingCheck(not_checked=f"strategy {strategy.name!r} runs one row at a time")
    answers = max(ROWS_OF_ANSWERS // workload.batch_size, 1)
    effort = Effort(requests=REQUESTS, answers=answers)
    checks: list[SamplingCheck] = []
    for params in PARAMETERS:
        effort = replace(effort, excluded=joined(checks).excluded)
        checks.append(_check(strategy, replace(workload, sampling=params), effort))
    thorough = replace(effort, requests=REQUESTS // 4, least_answers=answers, excluded=joined(checks).excluded)
    return joined([*checks, _check(strategy, replace(workload, sampling=PLAIN), thorough)])


def _check(strategy: Strategy, workload: Workload, effort: Effort) -> SamplingCheck:
    if not isinstance(strategy, ExposesLogits) or workload.sampling.is_greedy:
        return check_sampling(strategy, workload, effort)
    prompts = telling_prompts(strategy, workload, strategy.facts().vocabulary)
    return check_sampling(strategy, workload, effort, prompts)
