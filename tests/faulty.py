"""Strategies that lose a real device: a kernel of theirs stops at an assertion."""

from collections.abc import Iterator

import torch

from perfsuite.core.sample import Chunk, Request
from perfsuite.strategies.eager import EagerStrategy


class AssertsOnDevice(EagerStrategy):
    """At prompts of 20 tokens, once ten of those are answered, it looks up a row that its table has not."""

    answered = 0

    def stream(self, request: Request) -> Iterator[Chunk]:
        if len(request.prompts[0]) == 20:
            self.answered += 1
            if self.answered > 10:
                table = torch.zeros(4, 4, device="cuda")
                torch.nn.functional.embedding(torch.full((1,), 1000, device="cuda"), table)
        yield from super().stream(request)
