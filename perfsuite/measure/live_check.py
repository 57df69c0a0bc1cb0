"""Owns the examination of a live strategy: which parameters it is asked under, and what is made of all answers."""

import math
from dataclasses import replace

from perfsuite.core.sample import Request
from perfsuite.core.sampling_check import SamplingCheck, joined
from perfsuite.core.sampling_checks import describe
from perfsuite.core.workload import SamplingParams, Workload
from perfsuite.measure.allowance import Allowance
from perfsuite.measure.clock import Clock
from perfsuite.measure.inquiry import Effort
from perfsuite.measure.sampling import check_sampling
from perfsuite.measure.standard import standard_of
from perfsuite.measure.strategy import Ability, PreparesRequests, Prompts, RunsElsewhere, Strategy
from perfsuite.measure.telling import Candidates, candidate_prompts, telling_prompts

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
TIME_NS = 9 * 10**9
"""How long the whole examination may take, without what has to be made ready for it; what it had no time for is left
out."""


def check_strategy(strategy: Strategy, workload: Workload, clock: Clock | None = None) -> SamplingCheck:
    """All sampling checks on an open strategy; the workload gives prompt length, answer length, batch size and seed.

    Misreadings that one set of parameters leaves open count as excluded if another one excludes them. Those that all
    leave open are looked for once more, at prompts that are chosen for them, up to ROUNDS times in all; by a clock,
    none of these looks begins after AGAIN_NS, and all ends after TIME_NS.
    """
    if workload.batch_size > 1 and Ability.BATCH not in strategy.abilities:
        return SamplingCheck(not_checked=f"strategy {strategy.name!r} runs one row at a time")
    return _Examination(strategy, workload, clock).conduct()


class _Examination:
    """One strategy asked under all sets of parameters; `checks` are the outcomes so far."""

    def __init__(self, strategy: Strategy, workload: Workload, clock: Clock | None) -> None:
        self._strategy = strategy
        self._workload = workload
        self._clock = clock
        self._time = Allowance(clock, TIME_NS if clock else math.inf)
        self._standard = standard_of(strategy)
        self._candidates: dict[int, Candidates] = {}
        self._answers = max(ROWS_OF_ANSWERS // workload.batch_size, 1)
        self.checks: list[SamplingCheck] = []

    def conduct(self) -> SamplingCheck:
        self._time.begin()
        first = max(FIRST_ROWS // self._workload.batch_size, 1)
        for params in PARAMETERS:
            effort = Effort(requests=REQUESTS, answers=first, excluded=joined(self.checks).excluded)
            self._check(replace(self._workload, sampling=params), effort)
        self._check_independence()
        for number in range(1, ROUNDS):
            self._look_again(number)
        return joined(self.checks)

    def _check_independence(self) -> None:
        effort = Effort(
            requests=REQUESTS // 4,
            answers=self._answers,
            least_answers=self._answers,
            excluded=joined(self.checks).excluded,
        )
        self._check(replace(self._workload, sampling=PLAIN), effort)

    def _look_again(self, number: int) -> None:
        """At whatever told of a misreading which is still open, by other prompts and draws."""
        for params, before in zip(PARAMETERS, tuple(self.checks), strict=False):
            so_far = joined(self.checks)
            wanted = frozenset(so_far.open) & frozenset(before.told)
            if so_far.problems or not wanted or not self._may_look_again:
                continue
            sampling = replace(params, seed=params.seed + number * ROUND_STEP)
            again = replace(self._workload, seed=self._workload.seed + number * ROUND_STEP, sampling=sampling)
            self._check(again, Effort(requests=REQUESTS, answers=self._answers, excluded=so_far.excluded), wanted)

    @property
    def _may_look_again(self) -> bool:
        return self._clock is None or self._time.spent_ns < AGAIN_NS

    def _check(self, workload: Workload, effort: Effort, wanted: frozenset[str] = frozenset()) -> None:
        workload = self._as_taken(workload)
        if not self._time.has(0):
            self.checks.append(SamplingCheck(left_out=(describe(workload.sampling),)))
            return
        self._make_ready(workload)
        prompts = self._prompts(workload, wanted)
        allowance = Allowance(self._clock, self._time.left_ns)
        self.checks.append(check_sampling(self._strategy, workload, effort, prompts, allowance=allowance))

    def _as_taken(self, workload: Workload) -> Workload:
        """What engines and servers take, too."""
        if isinstance(self._standard, str) or self._standard.is_own:
            return workload
        cooler = min(workload.sampling.temperature, HOTTEST)
        return replace(workload, sampling=replace(workload.sampling, temperature=cooler))

    def _make_ready(self, workload: Workload) -> None:
        """What is compiled or captured for these parameters, once, is no part of the examination."""
        if isinstance(self._strategy, PreparesRequests) and not isinstance(self._strategy, RunsElsewhere):
            prompts = ((0,) * workload.prompt_tokens,) * workload.batch_size
            began_ns = self._time.now_ns()
            self._strategy.prepare(
                Request(prompts=prompts, output_tokens=workload.output_tokens, sampling=workload.sampling)
            )
            self._time.forgive(self._time.now_ns() - began_ns)

    def _prompts(self, workload: Workload, wanted: frozenset[str]) -> Prompts:
        if isinstance(self._standard, str) or workload.sampling.is_greedy:
            return ()
        if workload.seed not in self._candidates:
            vocabulary = self._strategy.facts().vocabulary
            self._candidates[workload.seed] = candidate_prompts(self._standard, vocabulary, workload)
        return telling_prompts(self._standard, self._candidates[workload.seed], workload, wanted)
