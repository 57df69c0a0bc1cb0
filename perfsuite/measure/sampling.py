"""Owns what a live strategy is asked so that its sampling can be checked, and how the answers become draws.

The checks themselves are core's. It must not know torch: logits are whatever numpy can read.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from perfsuite.core.answer import check_answer, check_logits
from perfsuite.core.boundaries import Floats
from perfsuite.core.draws import Tally, tally
from perfsuite.core.greedy import check_greedy
from perfsuite.core.independence import Draw, Pair, check_pairs
from perfsuite.core.misreadings import Misreading
from perfsuite.core.oracle import Context, next_token
from perfsuite.core.problem import FALSE_ALARM, Problem, Property
from perfsuite.core.rounding import UNIT_ROUNDOFF, Precision, logit_error
from perfsuite.core.sample import Request
from perfsuite.core.sampling_check import SamplingCheck
from perfsuite.core.sampling_checks import check_draws, describe, hopeless_misreadings
from perfsuite.core.workload import SamplingParams, Workload
from perfsuite.measure.strategy import Ability, ExposesLogits, Prompts, Strategy

LOOKS = 4
"""How often the draws of one check are looked at: after 1/8, 1/4, 1/2 and all of its requests."""
LONG = 1_000_000
"""Where the numbers of full answers begin, apart from those of one token."""
COARSEST = "bfloat16"
"""What a strategy is taken to compute in that does not say."""
SEED_STEP = 7919
STALE = "the pass of the step before is drawn from"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is asked at most: `requests` of one token at fixed prompts, `answers` of a workload's full length.

    So many as `least_answers` are asked for even if nothing is open, for the independence of their steps. For the
    misreadings that are `excluded` already, and for those that so many requests could not exclude, nobody waits.
    """

    requests: int = 48
    answers: int = 1
    least_answers: int = 1
    excluded: frozenset[str] = frozenset()


def check_sampling(
    strategy: Strategy,
    workload: Workload,
    effort: Effort,
    prompts: Prompts = (),
    on_request: Callable[[], object] = lambda: None,
) -> SamplingCheck:
    """Whether what an open strategy draws under a workload's parameters is what the oracle says.

    `prompts` replace those drawn from the workload's seed. Where the strategy shows no logits nothing is checked.
    `on_request` is called before the strategy is asked anything, as a sign of life.
    """
    if not isinstance(strategy, ExposesLogits) or Ability.LOGITS not in strategy.abilities:
        return SamplingCheck(not_checked=f"strategy {strategy.name!r} shows no logits")
    lacking = sorted(ability.value for ability in _needed(workload.sampling) - strategy.abilities)
    if lacking:
        return SamplingCheck(not_checked=f"strategy {strategy.name!r} does not apply {', '.join(lacking)}")
    asked = prompts or _prompts(strategy, workload)
    return _Inquiry(strategy, strategy, workload, asked, on_request).conduct(effort)


def _needed(params: SamplingParams) -> frozenset[Ability]:
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


@dataclass(slots=True)
class _Found:
    """What one inquiry has gathered so far."""

    problems: list[Problem] = field(default_factory=list)
    tallies: dict[int, Tally] = field(default_factory=dict)
    steps: list[Tally] = field(default_factory=list)
    pairs: dict[str, list[Pair]] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    open: tuple[str, ...] = ()

    @property
    def draws(self) -> int:
        return sum(one.draws for one in (*self.tallies.values(), *self.steps))


class _Inquiry:
    """One strategy asked under one workload."""

    def __init__(
        self,
        strategy: Strategy,
        logits: ExposesLogits,
        workload: Workload,
        prompts: Prompts,
        on_request: Callable[[], object],
    ) -> None:
        self._on_request = on_request
        self._strategy = strategy
        self._logits = logits
        self._workload = workload
        self._prompts = prompts
        self._vocabulary = strategy.facts().vocabulary
        self._found = _Found()
        self._first_answer: list[list[int]] = []
        self._looks = LOOKS
        self._not_waited_for: frozenset[str] = frozenset()

    def conduct(self, effort: Effort) -> SamplingCheck:
        """One answer, then first tokens, then more answers: until something is found or nothing is open."""
        self._looks = LOOKS + effort.answers
        rows = self._read(self._prompts)
        if rows is None:
            return self._outcome()
        self._ask_answer(0)
        self._check_seed()
        if not self._workload.sampling.is_greedy:
            self._draw_first_tokens(rows, effort)
        for index in range(1, effort.answers):
            if self._found.problems or not (self._is_waiting or index < effort.least_answers):
                break
            self._ask_answer(index)
            if (index + 1).bit_count() == 1 or index + 1 == effort.answers:
                self._is_decided()
        if not self._found.problems:
            self._found.problems.extend(check_pairs(self._found.pairs, alarm=FALSE_ALARM / self._looks))
        return self._outcome()

    def _outcome(self) -> SamplingCheck:
        problems = tuple(dict.fromkeys(map(str, self._found.problems)))
        return SamplingCheck(
            draws=self._found.draws, problems=problems, told=self._found.told, open=() if problems else self._found.open
        )

    def _read(self, prompts: Prompts) -> Floats | None:
        """Logits [B, V] in float64; `None`, with the problem noted, if they are none."""
        self._on_request()
        rows = np.asarray(self._logits.next_token_logits(prompts)).astype(np.float64)
        wrong = check_logits(rows)
        self._found.problems.extend(wrong)
        return None if wrong else rows

    def _context(self, rows: Floats, row: int, generated: tuple[int, ...] = (), *, same_pass: bool) -> Context:
        facts = self._strategy.facts()
        dtype = facts.dtype if facts.dtype in UNIT_ROUNDOFF else COARSEST
        error = logit_error(dtype, rows, facts.layers)
        others = tuple(prompt for index, prompt in enumerate(self._prompts) if index != row)
        return Context(
            logits=rows[row],
            params=self._workload.sampling,
            prompt=self._prompts[row],
            generated=generated,
            others=others[row - 1 :] + others[: row - 1] if row else others[::-1],
            precision=Precision(dtype=dtype, logit_error=error, blur=0.0 if same_pass else None),
        )

    def _answer(self, index: int, output_tokens: int) -> list[list[int]]:
        """The tokens of every row; no two indices share a seed."""
        request = Request(
            prompts=self._prompts,
            output_tokens=output_tokens,
            sampling=replace(self._workload.sampling, seed=self._workload.sampling.seed + SEED_STEP * (index + 1)),
        )
        self._on_request()
        chunks = list(self._strategy.stream(request))
        self._found.problems.extend(check_answer(chunks, request, vocabulary=self._vocabulary))
        return [
            [token for chunk in chunks if chunk.row == row for token in chunk.token_ids]
            for row in range(len(self._prompts))
        ]

    def _draw_first_tokens(self, rows: Floats, effort: Effort) -> None:
        contexts = [self._context(rows, row, same_pass=True) for row in range(len(self._prompts))]
        first_of = {prompt: row for row, prompt in reversed(list(enumerate(self._prompts)))}
        self._found.tallies = {row: tally(contexts[row]) for row in first_of.values()}
        hopeless = hopeless_misreadings(self._found.tallies.values(), effort.requests * len(self._prompts))
        self._not_waited_for = effort.excluded | hopeless
        tokens = {row: self._found.tallies[row].token for row in first_of.values()}
        before: list[Draw] = []
        for index in range(0 if self._found.problems else effort.requests):
            answer = self._answer(index, 1)
            if self._found.problems:
                return
            drawn = []
            for row, prompt in enumerate(self._prompts):
                known = first_of[prompt]
                self._found.tallies[known] = self._found.tallies[known].added(answer[row])
                drawn.append(Draw(drawn=answer[row][0], token=tokens[known]))
            self._pair("rows of a batch", drawn[::2], drawn[1::2])
            if index % 2:
                self._pair("requests with different seeds", before, drawn)
            before = drawn
            if index + 1 in _looks(effort.requests) and self._is_decided():
                return

    @property
    def _is_waiting(self) -> bool:
        return not self._not_waited_for.issuperset(self._found.open)

    def _is_decided(self) -> bool:
        """Whether a problem was found, or nothing is open that is waited for; the last look leaves what is open."""
        finding = check_draws([*self._found.tallies.values(), *self._found.steps], looks=self._looks)
        self._found.problems.extend(finding.problems)
        self._found.told, self._found.open = finding.told, finding.open
        return bool(finding.problems) or not self._is_waiting

    def _pair(self, kind: str, ones: Sequence[Draw], others: Sequence[Draw]) -> None:
        self._found.pairs.setdefault(kind, []).extend(zip(ones, others, strict=False))

    def _ask_answer(self, index: int) -> None:
        """A full answer, each step against the logits of a prompt that has the tokens before it."""
        self._first_answer = answer = self._answer(LONG + index, self._workload.output_tokens)
        if not self._found.problems:
            for row, draws in enumerate(self._steps(answer)):
                self._judge_steps(row, draws)

    def _check_seed(self) -> None:
        """The first answer again."""
        again = self._answer(LONG, self._workload.output_tokens)
        if not self._found.problems and again != self._first_answer:
            finding = "two requests with the same seed gave different tokens"
            self._found.problems.append(Problem(property=Property.RANDOMNESS, finding=finding))

    def _judge_steps(self, row: int, draws: Sequence[Draw]) -> None:
        params = self._workload.sampling
        if params.is_greedy:
            self._found.problems.extend(check_greedy(draws, where=f"row {row}, {describe(params)}"))
        else:
            self._pair("successive steps", draws[::2], draws[1::2])

    def _steps(self, answer: list[list[int]]) -> Iterator[list[Draw]]:
        """The draws of every row, one by one; their tallies are kept on the way."""
        draws: list[list[Draw]] = [[] for _ in answer]
        stale: dict[int, Context] = {}
        for step in range(len(answer[0])):
            heads = [tuple(tokens[:step]) for tokens in answer]
            rows = self._read(tuple(prompt + head for prompt, head in zip(self._prompts, heads, strict=True)))
            if rows is None:
                return
            for row, tokens in enumerate(answer):
                context = self._context(rows, row, heads[row], same_pass=False)
                drawn = tally(context, tokens[step : step + 1], more=_stale(context, stale.get(row)))
                stale[row] = context
                self._found.steps.append(drawn)
                draws[row].append(Draw(drawn=tokens[step], token=drawn.token))
        yield from draws


def _stale(context: Context, before: Context | None) -> tuple[Misreading, ...]:
    """What would be drawn if a replayed graph still held the logits of the step before."""
    if before is None or context.params.is_greedy:
        return ()
    token = next_token(replace(context, logits=before.logits))
    return (Misreading(name=STALE, property=Property.DISTRIBUTION, token=token),)


def _looks(requests: int) -> frozenset[int]:
    return frozenset(max(requests >> halvings, 1) for halvings in range(LOOKS))
