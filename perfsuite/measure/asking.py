"""Owns what a live strategy is asked under one workload, logits and answers, and what is wrong with their shape."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from perfsuite.core.answer import check_answer, check_logits
from perfsuite.core.boundaries import Floats
from perfsuite.core.oracle import Context
from perfsuite.core.problem import Problem
from perfsuite.core.rounding import precision_of
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import Workload
from perfsuite.measure.standard import Standard
from perfsuite.measure.strategy import Prompts, Strategy

SEED_STEP = 7919


@dataclass(kw_only=True, slots=True)
class Asking:
    """One strategy at fixed prompts; `problems` gathers what is found. `on_request` is called before each request."""

    strategy: Strategy
    standard: Standard
    workload: Workload
    prompts: Prompts
    on_request: Callable[[], object]
    problems: list[Problem] = field(default_factory=list)

    def read(self, prompts: Prompts) -> Floats | None:
        """Logits [B, V] in float64; `None`, with the problem noted, if they are none."""
        self.on_request()
        rows = self.standard.read(prompts)
        wrong = check_logits(rows)
        self.problems.extend(wrong)
        return None if wrong else rows

    def answer(self, index: int, output_tokens: int) -> list[list[int]]:
        """The tokens of every row, with problems noted; no two indices share a seed."""
        request = Request(
            prompts=self.prompts,
            output_tokens=output_tokens,
            sampling=replace(self.workload.sampling, seed=self.workload.sampling.seed + SEED_STEP * (index + 1)),
        )
        self.on_request()
        chunks = list(self.strategy.stream(request))
        if self.standard.speech is not None:
            return [[self.standard.speech.heard(_text(chunks, row))] for row in range(len(self.prompts))]
        self.problems.extend(check_answer(chunks, request, vocabulary=self.strategy.facts().vocabulary))
        return [
            [token for chunk in chunks if chunk.row == row for token in chunk.token_ids]
            for row in range(len(self.prompts))
        ]

    def context(self, rows: Floats, row: int, generated: tuple[int, ...] = (), *, same_pass: bool) -> Context:
        """What a draw of one row depends on, at these logits [B, V]."""
        others = tuple(prompt for index, prompt in enumerate(self.prompts) if index != row)
        return Context(
            logits=rows[row],
            params=self.workload.sampling,
            prompt=self.prompts[row],
            generated=generated,
            others=others[row - 1 :] + others[: row - 1] if row else others[::-1],
            precision=precision_of(
                self.standard.dtype, rows, self.standard.layers, same_pass=same_pass and self.standard.is_own
            ),
            unseen=self.standard.unseen(rows.shape[1]),
        )


def _text(chunks: Sequence[Chunk], row: int) -> str:
    return "".join(chunk.text or "" for chunk in chunks if chunk.row == row)
