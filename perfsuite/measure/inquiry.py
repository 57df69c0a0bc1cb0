"""Owns the course of one inquiry into a live strategy: what it is asked in which order, and how answers become draws.

The checks themselves are core's. It must not know torch: logits are whatever numpy can read.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from perfsuite.core.boundaries import Floats
from perfsuite.core.draws import Tally, tally
from perfsuite.core.greedy import check_greedy
from perfsuite.core.independence import Draw, Pair, check_pairs
from perfsuite.core.misreadings import Misreading
from perfsuite.core.oracle import Context, next_token
from perfsuite.core.problem import FALSE_ALARM, Problem, Property
from perfsuite.core.sampling_check import SamplingCheck
from perfsuite.core.sampling_checks import check_draws, describe, hopeless_misreadings
from perfsuite.measure.allowance import Allowance
from perfsuite.measure.asking import Asking

LOOKS = 4
"""How often the draws of one check are looked at: after 1/8, 1/4, 1/2 and all of its requests."""
LONG = 1_000_000
"""Where the numbers of full answers begin, apart from those of one token."""
STALE = "the pass of the step before is drawn from"
ANSWER_SHARE = 0.5
"""What of the time there is the first answer may take, with its judgement and its repetition."""
WHOLE_ANSWER, SAME_SEED, FIRST_TOKENS = "every token of an answer", "the same seed once more", "all first tokens"
"""What may be left out for want of time, as it is said."""


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


@dataclass(slots=True)
class _Found:
    """What one inquiry has gathered so far."""

    tallies: dict[int, Tally] = field(default_factory=dict)
    steps: list[Tally] = field(default_factory=list)
    pairs: dict[str, list[Pair]] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    left_out: set[str] = field(default_factory=set)

    @property
    def draws(self) -> int:
        return sum(one.draws for one in (*self.tallies.values(), *self.steps))


class Inquiry:
    """One strategy asked under one workload, for as long as the allowance lasts, which begins after the first pass."""

    def __init__(self, asking: Asking, allowance: Allowance) -> None:
        self._asking = asking
        self._allowance = allowance
        self._params = asking.workload.sampling
        self._output_tokens = asking.workload.output_tokens
        self._problems = asking.problems
        self._found = _Found()
        self._answer_ns = 0
        self._looks = LOOKS
        self._not_waited_for: frozenset[str] = frozenset()

    def conduct(self, effort: Effort) -> SamplingCheck:
        """One answer, then first tokens, then more answers: until something is found or nothing is open."""
        self._looks = LOOKS + effort.answers
        if self._asking.standard.speech is not None:
            self._found.left_out.add(WHOLE_ANSWER)
        rows = self._asking.read(self._asking.prompts)
        if rows is None:
            return self._outcome()
        self._allowance.begin()
        self._ask_first_answer()
        if not self._params.is_greedy:
            self._draw_first_tokens(rows, effort)
        self._ask_more_answers(effort)
        if not self._problems:
            self._problems.extend(check_pairs(self._found.pairs, alarm=FALSE_ALARM / self._looks))
        return self._outcome()

    def _outcome(self) -> SamplingCheck:
        problems = tuple(dict.fromkeys(map(str, self._problems)))
        if self._found.left_out and not self._found.draws and not problems:
            return SamplingCheck(not_checked="the time for it was over after its first passes")
        return SamplingCheck(
            draws=self._found.draws,
            problems=problems,
            told=self._found.told,
            open=() if problems else self._found.open,
            left_out=() if problems else tuple(sorted(self._found.left_out)),
        )

    def _ask_first_answer(self) -> None:
        """As many tokens of an answer as there is time for, and the same once more."""
        tokens = self._affordable_tokens()
        if tokens < self._output_tokens:
            self._found.left_out.add(WHOLE_ANSWER)
        if not tokens or self._problems:
            self._found.left_out.add(SAME_SEED)
            return
        answer = self._ask_answer(0, tokens)
        if not self._allowance.has(self._answer_ns):
            self._found.left_out.add(SAME_SEED)
        elif self._asking.answer(LONG, tokens) != answer and not self._problems:
            finding = "two requests with the same seed gave different tokens"
            self._problems.append(Problem(property=Property.RANDOMNESS, finding=finding))

    def _affordable_tokens(self) -> int:
        """A token takes a step in each of two answers, no longer than a pass, and a pass with its judgement."""
        left_ns = self._allowance.left_ns
        if left_ns == math.inf:
            return self._output_tokens
        began_ns = self._allowance.now_ns()
        rows = self._asking.read(self._asking.prompts)
        pass_ns = self._allowance.now_ns() - began_ns
        if rows is None:
            return 0
        for row in range(len(rows)):
            tally(self._asking.context(rows, row, same_pass=False))
        token_ns = 2 * pass_ns + self._allowance.now_ns() - began_ns
        return min(self._output_tokens, int(left_ns * ANSWER_SHARE / max(token_ns, 1)))

    def _draw_first_tokens(self, rows: Floats, effort: Effort) -> None:
        prompts = self._asking.prompts
        first_of = {prompt: row for row, prompt in reversed(list(enumerate(prompts)))}
        tallies = {row: tally(self._asking.context(rows, row, same_pass=True)) for row in first_of.values()}
        hopeless = hopeless_misreadings(tallies.values(), effort.requests * len(prompts))
        self._found.tallies = tallies
        self._not_waited_for = effort.excluded | hopeless
        before: list[Draw] = []
        taken_ns = 0
        for index in range(0 if self._problems else effort.requests):
            if not self._allowance.has(taken_ns):
                self._found.left_out.add(FIRST_TOKENS)
                self._is_decided()
                return
            began_ns = self._allowance.now_ns()
            drawn = self._draw_once(index, first_of)
            if self._problems:
                return
            if index % 2:
                self._pair("requests with different seeds", before, drawn)
            before = drawn
            if index + 1 in _looks(effort.requests) and self._is_decided():
                return
            taken_ns = self._allowance.now_ns() - began_ns

    def _draw_once(self, index: int, first_of: dict[tuple[int, ...], int]) -> list[Draw]:
        """One first token for every row; equal prompts count together."""
        answer = self._asking.answer(index, 1)
        drawn: list[Draw] = []
        for row, prompt in enumerate(() if self._problems else self._asking.prompts):
            known = self._found.tallies[first_of[prompt]]
            self._found.tallies[first_of[prompt]] = known.added(answer[row])
            drawn.append(Draw(drawn=answer[row][0], token=known.token))
        self._pair("rows of a batch", drawn[::2], drawn[1::2])
        return drawn

    def _ask_more_answers(self, effort: Effort) -> None:
        for index in range(1, effort.answers):
            if self._problems or not (self._is_waiting or index < effort.least_answers):
                return
            if not self._allowance.has(self._answer_ns):
                self._found.left_out.add(WHOLE_ANSWER)
                return
            self._ask_answer(index, self._output_tokens)
            if (index + 1).bit_count() == 1 or index + 1 == effort.answers:
                self._is_decided()

    @property
    def _is_waiting(self) -> bool:
        return not self._not_waited_for.issuperset(self._found.open)

    def _is_decided(self) -> bool:
        """Whether a problem was found, or nothing is open that is waited for; the last look leaves what is open."""
        finding = check_draws([*self._found.tallies.values(), *self._found.steps], looks=self._looks)
        self._problems.extend(finding.problems)
        self._found.told, self._found.open = finding.told, finding.open
        return bool(finding.problems) or not self._is_waiting

    def _pair(self, kind: str, ones: Sequence[Draw], others: Sequence[Draw]) -> None:
        self._found.pairs.setdefault(kind, []).extend(zip(ones, others, strict=False))

    def _ask_answer(self, index: int, output_tokens: int) -> list[list[int]]:
        """An answer, each step against the logits of a prompt that has the tokens before it."""
        began_ns = self._allowance.now_ns()
        answer = self._asking.answer(LONG + index, output_tokens)
        self._answer_ns = self._allowance.now_ns() - began_ns
        if not self._problems:
            for row, draws in enumerate(self._steps(answer)):
                self._judge_steps(row, draws)
        return answer

    def _judge_steps(self, row: int, draws: Sequence[Draw]) -> None:
        if self._params.is_greedy:
            self._problems.extend(check_greedy(draws, where=f"row {row}, {describe(self._params)}"))
        else:
            self._pair("successive steps", draws[::2], draws[1::2])

    def _steps(self, answer: list[list[int]]) -> Iterator[list[Draw]]:
        """The draws of every row, one by one; their tallies are kept on the way."""
        draws: list[list[Draw]] = [[] for _ in answer]
        stale: dict[int, Context] = {}
        taken_ns = 0
        for step in range(len(answer[0])):
            if not self._allowance.has(taken_ns):
                self._found.left_out.add(WHOLE_ANSWER)
                break
            began_ns = self._allowance.now_ns()
            heads = [tuple(tokens[:step]) for tokens in answer]
            rows = self._asking.read(tuple(p + head for p, head in zip(self._asking.prompts, heads, strict=True)))
            if rows is None:
                return
            for row, tokens in enumerate(answer):
                context = self._asking.context(rows, row, heads[row], same_pass=False)
                drawn = tally(context, tokens[step : step + 1], more=_stale(context, stale.get(row)))
                stale[row] = context
                self._found.steps.append(drawn)
                draws[row].append(Draw(drawn=tokens[step], token=drawn.token))
            taken_ns = self._allowance.now_ns() - began_ns
        yield from draws


def _stale(context: Context, before: Context | None) -> tuple[Misreading, ...]:
    """What would be drawn if a replayed graph still held the logits of the step before."""
    if before is None or context.params.is_greedy:
        return ()
    token = next_token(replace(context, logits=before.logits))
    return (Misreading(name=STALE, property=Property.DISTRIBUTION, token=token),)


def _looks(requests: int) -> frozenset[int]:
    return frozenset(max(requests >> halvings, 1) for halvings in range(LOOKS))
