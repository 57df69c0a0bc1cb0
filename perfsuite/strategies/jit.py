"""Owns the jit strategy: the passes over a static cache compiled by torch.compile, and launched kernel by kernel."""

from typing import Any

import torch
from torch import Tensor

from perfsuite.core.recording import Evidence
from perfsuite.strategies._compile import Regions, inductor_options
from perfsuite.strategies._of_ranks import on_every_rank
from perfsuite.strategies._static_step import StaticStep
from perfsuite.strategies._static_strategy import StaticStrategy


class JitStrategy(StaticStrategy):
    """Runs what inductor makes of the model, without CUDA graphs: one prefill for all lengths, one decode step."""

    name = "jit"
    getting_ready = "compile"

    def make_step(self, model: Any, device: torch.device) -> StaticStep:
        self._regions = Regions(inductor_options(self.facts(), device))
        return StaticStep(model, self._regions.prepare, self._regions.compile)

    @on_every_rank
    def next_token_logits(self, prompts: tuple[tuple[int, ...], ...]) -> Tensor:
        """Logits of the token after each prompt (all of one length): [B, V], float32, on the host."""
        step = self.step
        with self._regions.foreseen():
            return step.next_token_logits(prompts)

    def counts(self) -> Evidence:
        return self._regions.evidence()
