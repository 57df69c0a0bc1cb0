"""Owns how a live strategy is brought to an end-of-sequence id, and what its rows must do there: end, or go on."""

from collections.abc import Sequence
from dataclasses import dataclass

from perfsuite.core.answer import check_ending
from perfsuite.core.problem import Problem, Property
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.sampling_check import SamplingCheck, joined
from perfsuite.core.workload import Workload
from perfsuite.measure.inquiry import Effort
from perfsuite.measure.luring import ENDING, luring_prompts
from perfsuite.measure.sampling import check_sampling, needed
from perfsuite.measure.strategy import Ability, ExposesLogits, Prompts, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What came of prompts asked to ignore ends; `ends` are the steps at which each row has its first, if any."""

    prompts: Prompts
    tokens: tuple[tuple[int, ...], ...]
    ends: tuple[int | None, ...]

    @property
    def first(self) -> int | None:
        return min((end for end in self.ends if end is not None), default=None)

    @property
    def worth(self) -> int:
        """0: no row ends early. 1: one does. 2: and neither at its first token nor together with all others."""
        length, first = len(self.tokens[0]), self.first
        if first is None or first >= length - 1:
            return 0
        goes_on = len(self.ends) == 1 or any(end is None or end > first for end in self.ends)
        return 2 if first > 0 and goes_on else 1


def check_endings(strategy: Strategy, workload: Workload) -> SamplingCheck:
    """Whether rows of an open strategy end at an end-of-sequence id if they are to, and go on if they are not.

    Prompts are made of few ids, one of which ends a sequence, and asked for under ENDING. An answer asked to ignore
    ends must be whole and what the oracle says; the same asked to honour them must be the same until a row ends, which
    does so there, with the reason 'stop', while the others go on. Not checked where no end is known or reached.
    """
    reason = _not_checkable(strategy, workload)
    if reason:
        return SamplingCheck(not_checked=reason)
    tried: list[_Answer] = []
    draws = 0
    for prompts in luring_prompts(strategy, workload, _ends(strategy)):
        chunks, problems = _ask(strategy, workload, prompts, ignore_eos=True)
        draws += len(chunks)
        if problems:
            return _found(draws, problems)
        tried.append(_answer(strategy, prompts, chunks))
        if tried[-1].worth == 2:
            break
    best = max(tried, key=lambda answer: answer.worth)
    oracle = _against_oracle(strategy, workload, best.prompts)
    if oracle.problems or not best.worth:
        ids = ", ".join(map(str, _ends(strategy)))
        nothing = f"none of {len(tried)} answers came to an end-of-sequence id ({ids}) before its last token"
        return joined([_found(draws), oracle, SamplingCheck(not_checked=nothing if not best.worth else None)])
    chunks, problems = _ask(strategy, workload, best.prompts, ignore_eos=False)
    return joined([_found(draws + len(chunks), problems or _differences(chunks, best)), oracle])


def _not_checkable(strategy: Strategy, workload: Workload) -> str | None:
    if workload.batch_size > 1 and Ability.BATCH not in strategy.abilities:
        return f"strategy {strategy.name!r} runs one row at a time"
    lacking = sorted(ability.value for ability in needed(ENDING) - strategy.abilities)
    if lacking:
        return f"strategy {strategy.name!r} does not apply {', '.join(lacking)}"
    if strategy.facts().eos_token_ids is None:
        return f"strategy {strategy.name!r} does not say which ids end a sequence"
    if not _ends(strategy):
        return "no id of the model ends a sequence"
    return "an answer of one token cannot end early" if workload.output_tokens < 2 else None


def _ends(strategy: Strategy) -> tuple[int, ...]:
    facts = strategy.facts()
    return tuple(token for token in facts.eos_token_ids or () if 0 <= token < facts.vocabulary)


def _ask(
    strategy: Strategy, workload: Workload, prompts: Prompts, *, ignore_eos: bool
) -> tuple[list[Chunk], tuple[Problem, ...]]:
    request = Request(prompts=prompts, output_tokens=workload.output_tokens, sampling=ENDING, ignore_eos=ignore_eos)
    chunks = list(strategy.stream(request))
    facts = strategy.facts()
    return chunks, check_ending(chunks, request, vocabulary=facts.vocabulary, eos=_ends(strategy))


def _answer(strategy: Strategy, prompts: Prompts, chunks: Sequence[Chunk]) -> _Answer:
    ends = frozenset(_ends(strategy))
    tokens = _tokens(chunks, len(prompts))
    firsts = tuple(next((step for step, token in enumerate(row) if token in ends), None) for row in tokens)
    return _Answer(prompts=prompts, tokens=tokens, ends=firsts)


def _tokens(chunks: Sequence[Chunk], rows: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(t for chunk in chunks if chunk.row == row for t in chunk.token_ids) for row in range(rows))


def _against_oracle(strategy: Strategy, workload: Workload, prompts: Prompts) -> SamplingCheck:
    """Whether ends come when they are ignored as any other token; nothing found where no logits are shown."""
    if not isinstance(strategy, ExposesLogits) or Ability.LOGITS not in strategy.abilities:
        return SamplingCheck()
    asked = Workload(
        prompt_tokens=workload.prompt_tokens,
        output_tokens=workload.output_tokens,
        batch_size=workload.batch_size,
        sampling=ENDING,
        seed=workload.seed,
    )
    return check_sampling(strategy, asked, Effort(), prompts)


def _differences(chunks: Sequence[Chunk], ignoring: _Answer) -> tuple[Problem, ...]:
    """Until a row ends nothing differs from the answer that ignores ends."""
    shared = (ignoring.first or 0) + 1
    for row, (now, before) in enumerate(zip(_tokens(chunks, len(ignoring.tokens)), ignoring.tokens, strict=True)):
        if now[:shared] != before[:shared]:
            finding = (
                f"row {row} began with {list(now[:shared])} where it was to end at an end-of-sequence id, and with "
                f"{list(before[:shared])} where it was not"
            )
            return (Problem(property=Property.ANSWER, finding=finding),)
    return ()


def _found(draws: int, problems: Sequence[Problem] = ()) -> SamplingCheck:
    return SamplingCheck(draws=draws, problems=tuple(map(str, problems)))
