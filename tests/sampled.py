"""Strategies that really sample, in numpy and from logits that are a function of the ids: one right, others wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from perfsuite.core.oracle import Context, next_token
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import ModelFacts, SamplingParams
from perfsuite.measure.strategy import ALL_SAMPLING, Ability
from tests.scripted import Scripted

VOCABULARY = 40
END = 3


class Sampled(Scripted):
    """Draws as the oracle says; what a subclass overrides is what it gets wrong."""

    name = "sampled"
    abilities = ALL_SAMPLING | {Ability.BATCH, Ability.LOGITS}
    pass_ns = 1_000_000

    def facts(self) -> ModelFacts:
        return replace(super().facts(), vocabulary=VOCABULARY, dtype="float32", layers=2, eos_token_ids=(END,))

    def next_token_logits(self, prompts: tuple[tuple[int, ...], ...]) -> np.ndarray:
        self.scripted_clock.wait_ns(self.pass_ns)
        return np.array([self.row(ids) for ids in prompts], dtype=np.float32)

    def row(self, ids: tuple[int, ...]) -> np.ndarray:
        """Peaked logits that depend on the last two ids."""
        logits = np.random.default_rng([7, *ids[-2:]]).normal(0, 1, VOCABULARY)
        logits[np.arange(10) * 4] += 2.5
        return logits.astype(np.float32)

    def stream(self, request: Request) -> Iterator[Chunk]:
        numbers = self.numbers(request)
        generated: list[list[int]] = [[] for _ in request.prompts]
        running = set(range(len(request.prompts)))
        for step in range(request.output_tokens):
            self.scripted_clock.wait_ns(self.pass_ns)
            for row, prompt in enumerate(request.prompts):
                context = self.context(request, row, (*prompt, *generated[row]), len(prompt))
                place = self.number(numbers, step, row)
                cumulated = next_token(context).probabilities.cumsum()
                token = int(min(np.searchsorted(cumulated, place * cumulated[-1], side="right"), VOCABULARY - 1))
                generated[row].append(token)
            for row in sorted(running):
                reason = self.finish_reason(request, generated[row])
                if reason:
                    running.remove(row)
                yield self.chunk(row, generated[row][-1], reason)
            if not running:
                return

    def finish_reason(self, request: Request, generated: list[int]) -> str | None:
        if generated[-1] == END and not request.ignore_eos:
            return "stop"
        return "length" if len(generated) == request.output_tokens else None

    def chunk(self, row: int, token: int, reason: str | None) -> Chunk:
        return Chunk(token_ids=(token,), row=row, finish_reason=reason)

    def context(self, request: Request, row: int, ids: tuple[int, ...], prompt: int) -> Context:
        return Context(logits=self.row(ids).astype(float), params=self.params(request.sampling), prompt=ids)

    def params(self, asked: SamplingParams) -> SamplingParams:
        return asked

    def numbers(self, request: Request) -> np.ndarray:
        """Uniform numbers by step and row."""
        shape = (request.output_tokens, len(request.prompts))
        return np.random.default_rng(request.sampling.seed).random(shape)

    def number(self, numbers: np.ndarray, step: int, row: int) -> float:
        return float(numbers[step, row])


class IgnoresTopP(Sampled):
    def params(self, asked: SamplingParams) -> SamplingParams:
        return replace(asked, top_p=1.0)


class IgnoresPenalty(Sampled):
    def params(self, asked: SamplingParams) -> SamplingParams:
        return replace(asked, repetition_penalty=1.0)


class PenalisesThePromptOnly(Sampled):
    def context(self, request: Request, row: int, ids: tuple[int, ...], prompt: int) -> Context:
        return replace(super().context(request, row, ids, prompt), prompt=ids[:prompt])


class PenalisesAnotherRow(Sampled):
    def context(self, request: Request, row: int, ids: tuple[int, ...], prompt: int) -> Context:
        return replace(super().context(request, row, ids, prompt), prompt=request.prompts[row - 1])


class ReplaysItsNumbers(Sampled):
    """A captured graph whose random numbers are those of its first replay, step by step."""

    def number(self, numbers: np.ndarray, step: int, row: int) -> float:
        return float(numbers[0, row])


class SharesItsNumbers(Sampled):
    """All rows of a batch draw with the number of the first."""

    def number(self, numbers: np.ndarray, step: int, row: int) -> float:
        return float(numbers[step, 0])


class IgnoresTheSeed(Sampled):
    def numbers(self, request: Request) -> np.ndarray:
        return np.random.default_rng(len(self.requests) + 1).random((request.output_tokens, len(request.prompts)))


class DrawsAnew(Sampled):
    """The same seed gives other tokens each time."""

    def numbers(self, request: Request) -> np.ndarray:
        return np.random.default_rng().random((request.output_tokens, len(request.prompts)))


class ReplaysAStalePass(Sampled):
    """From the second token on it draws from the logits of the step before."""

    def context(self, request: Request, row: int, ids: tuple[int, ...], prompt: int) -> Context:
        known = ids if len(ids) == prompt else ids[:-1]
        return replace(super().context(request, row, ids, prompt), logits=self.row(known).astype(float))


WRONG = (
    IgnoresTopP,
    IgnoresPenalty,
    PenalisesThePromptOnly,
    PenalisesAnotherRow,
    ReplaysItsNumbers,
    SharesItsNumbers,
    IgnoresTheSeed,
    DrawsAnew,
    ReplaysAStalePass,
)
"""Those that draw something else than they are asked for."""


class IgnoresTheEnd(Sampled):
    """Goes on behind an end that it was asked to honour."""

    def finish_reason(self, request: Request, generated: list[int]) -> str | None:
        return super().finish_reason(replace(request, ignore_eos=True), generated)


class EndsUnasked(Sampled):
    """Stops at an end that it was asked to ignore."""

    def finish_reason(self, request: Request, generated: list[int]) -> str | None:
        return super().finish_reason(replace(request, ignore_eos=False), generated)


class EndsLate(Sampled):
    """One token behind the end."""

    def finish_reason(self, request: Request, generated: list[int]) -> str | None:
        has_ended = END in generated[:-1] and not request.ignore_eos
        reason = super().finish_reason(replace(request, ignore_eos=True), generated)
        return "stop" if has_ended else reason


class EndsTogether(Sampled):
    """When one row ends, all do."""

    def stream(self, request: Request) -> Iterator[Chunk]:
        chunks = list(super().stream(request))
        if request.ignore_eos:
            yield from chunks
            return
        lengths = [sum(chunk.row == row for chunk in chunks) for row in range(len(request.prompts))]
        seen = [0] * len(lengths)
        for chunk in chunks:
            seen[chunk.row] += 1
            if seen[chunk.row] <= min(lengths):
                yield replace(chunk, finish_reason="stop" if seen[chunk.row] == min(lengths) else None)


class SwallowsTheEnd(Sampled):
    """Ends where it should, without the id that ends."""

    def stream(self, request: Request) -> Iterator[Chunk]:
        for chunk in super().stream(request):
            is_end = chunk.finish_reason == "stop"
            yield replace(chunk, token_ids=()) if is_end else chunk


class SaysLength(Sampled):
    """Gives the wrong reason for an end."""

    def chunk(self, row: int, token: int, reason: str | None) -> Chunk:
        return super().chunk(row, token, "length" if reason else None)


class SaysNothing(Sampled):
    """Gives no reason."""

    def chunk(self, row: int, token: int, reason: str | None) -> Chunk:
        return super().chunk(row, token, None)


class RulesOutTheEnd(Sampled):
    """Never draws an end that it is to ignore."""

    def context(self, request: Request, row: int, ids: tuple[int, ...], prompt: int) -> Context:
        context = super().context(request, row, ids, prompt)
        if request.ignore_eos:
            context.logits[END] = -np.inf
        return context


class RulesOutTheEndIfHonoured(Sampled):
    """Never draws an end that it is to honour."""

    def context(self, request: Request, row: int, ids: tuple[int, ...], prompt: int) -> Context:
        context = super().context(request, row, ids, prompt)
        if not request.ignore_eos:
            context.logits[END] = -np.inf
        return context


WRONG_AT_THE_END = (
    IgnoresTheEnd,
    EndsUnasked,
    EndsLate,
    SwallowsTheEnd,
    SaysLength,
    SaysNothing,
    RulesOutTheEnd,
    RulesOutTheEndIfHonoured,
)
"""Those that do something else than they are asked for where a sequence ends."""


class NeverEnds(Sampled):
    """What ends a sequence is all but impossible."""

    def row(self, ids: tuple[int, ...]) -> np.ndarray:
        logits = super().row(ids)
        logits[END] = -1000
        return logits


class KnowsNoEnd(Sampled):
    def facts(self) -> ModelFacts:
        return replace(super().facts(), eos_token_ids=None)


class HasNoEnd(Sampled):
    def facts(self) -> ModelFacts:
        return replace(super().facts(), eos_token_ids=(VOCABULARY + 1,))


class Letters:
    """Ids are letters, and some that nobody should print."""

    signs = 'abcdefghijklmnopqrstuvwxyz .\n\x1b"\\'

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(max(self.signs.find(sign), 0) for sign in text)

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.signs[token % len(self.signs)] for token in ids)


class Writes(Sampled):
    def alphabet(self) -> Letters:
        return Letters()


class WritesSlowly(Writes):
    pass_ns = 900_000_000


class CannotSpell(Sampled):
    def alphabet(self) -> Letters:
        raise ValueError("the tokenizer is broken")


class HasNoAlphabet(Sampled):
    def alphabet(self) -> None:
        return None


class TakesASecond(Sampled):
    """For every pass."""

    pass_ns = 1_000_000_000


class TakesATenth(Sampled):
    pass_ns = 100_000_000


class TakesAMinute(Sampled):
    pass_ns = 60_000_000_000


class NotANumber(Sampled):
    def next_token_logits(self, prompts: tuple[tuple[int, ...], ...]) -> np.ndarray:
        return super().next_token_logits(prompts) * np.nan


class WithoutLogits(Sampled):
    abilities = Sampled.abilities - {Ability.LOGITS}


class WithoutPenalty(Sampled):
    abilities = Sampled.abilities - {Ability.REPETITION_PENALTY}


class BreaksOff(Sampled):
    def next_token_logits(self, prompts: tuple[tuple[int, ...], ...]) -> np.ndarray:
        raise RuntimeError("no logits today")
