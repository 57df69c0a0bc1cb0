"""Owns the examination of a live strategy: which parameters it is asked under, and what is made of all answers."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from perfsuite.core.sampling_check import SamplingCheck, joined
from perfsuite.core.workload import SamplingParams, Workload
from perfsuite.measure.allowance import Allowance
from perfsuite.measure.clock import Clock
from perfsuite.measure.inquiry import Effort
from perfsuite.measure.sampling import check_sampling
from perfsuite.measure.standard import standard_of
from perfsuite.measure.strategy import Ability, Strategy
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
HOTTEST = 2.0
"""Engines and servers take no temperature above this (vLLM's SamplingParams, OpenAI's API)."""
REQUESTS = 256
ROWS_OF_ANSWERS = 24
"""Full answers asked for at most, all rows counted."""
FIRST_ROWS = 8
"""The same in the first round, which leaves what it cannot exclude to those that look for nothing else."""
ROUNDS = 4
ROUND_STEP = 104_729
"""What is added to the seeds of prompts and draws from one round to the next."""


AGAIN_NS = 6 * 10**9
"""How long after the beginning the last look for what is still open may begin: most is settled long before."""


def check_strategy(strategy: Strategy, workload: Workload, clock: Clock | None = None) -> SamplingCheck:
    """All sampling checks on an open strategy; the workload gives prompt length, answer length, batch size and seed.

    Misreadings that one set of parameters leaves open count as excluded if another one excludes them. Those that all
    leave open are looked for once more, at prompts that are chosen for them, up to ROUNDS times in all; by a clock,
    for AGAIN_NS at most.
    """
    time = Allowance(clock, AGAIN_NS if clock else math.inf)
    time.begin()
    if workload.batch_size > 1 and Ability.BATCH not in strategy.abilities:
        return SamplingCheck(not_checked=f"strategy {strategy.name!r} runs one row at a time")
    first, most = max(FIRST_ROWS // workload.batch_size, 1), max(ROWS_OF_ANSWERS // workload.batch_size, 1)
    checks: list[SamplingCheck] = []
    for params in PARAMETERS:
        effort = Effort(requests=REQUESTS, answers=first, excluded=joined(checks).excluded)
        checks.append(_check(strategy, replace(workload, sampling=params), effort))
    effort = Effort(requests=REQUESTS // 4, answers=most, least_answers=most, excluded=joined(checks).excluded)
    checks.append(_check(strategy, replace(workload, sampling=PLAIN), effort))
    for number in range(1, ROUNDS):
        checks.extend(_look_again(strategy, workload, checks, number, time))
    return joined(checks)


def _look_again(
    strategy: Strategy, workload: Workload, checks: Sequence[SamplingCheck], number: int, time: Allowance
) -> Iterator[SamplingCheck]:
    """A check for every set of parameters that told of a misreading which is still open, by other prompts and draws."""
    so_far = joined(checks)
    for params, before in zip(PARAMETERS, checks, strict=False):
        wanted = frozenset(so_far.open) & frozenset(before.told)
        if so_far.problems or not wanted or not time.has(0):
            continue
        sampling = replace(params, seed=params.seed + number * ROUND_STEP)
        again = replace(workload, seed=workload.seed + number * ROUND_STEP, sampling=sampling)
        answers = max(ROWS_OF_ANSWERS // workload.batch_size, 1)
        effort = Effort(requests=REQUESTS, answers=answers, excluded=so_far.excluded)
        check = _check(strategy, again, effort, wanted)
        so_far = joined([so_far, check])
        yield check


def _check(
    strategy: Strategy, workload: Workload, effort: Effort, wanted: frozenset[str] = frozenset()
) -> SamplingCheck:
    standard = standard_of(strategy)
    if not isinstance(standard, str) and not standard.is_own:
        cooler = min(workload.sampling.temperature, HOTTEST)
        workload = replace(workload, sampling=replace(workload.sampling, temperature=cooler))
    if isinstance(standard, str) or workload.sampling.is_greedy:
        return check_sampling(strategy, workload, effort)
    prompts = telling_prompts(standard, strategy.facts().vocabulary, workload, wanted)
    return check_sampling(strategy, workload, effort, prompts)
