"""Owns the jit-cuda-graph strategy: compiled passes and draws by kernels, captured once and replayed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from perfsuite.core.recording import Evidence
from perfsuite.strategies._compile import Regions, inductor_options
from perfsuite.strategies._fusion import fuse_projections, keep_rotations
from perfsuite.strategies._graphs import GraphPool
from perfsuite.strategies._halves import halve_deep_products
from perfsuite.strategies._kernel_attention import use_kernel_attention
from perfsuite.strategies._kernel_draws import KernelDraws
from perfsuite.strategies._of_ranks import on_every_rank
from perfsuite.strategies._one_row import join_one_row
from perfsuite.strategies._overlap import overlaps
from perfsuite.strategies._skinny import use_skinny_products
from perfsuite.strategies._static_step import StaticStep
from perfsuite.strategies._static_strategy import StaticStrategy, require_gpu
from perfsuite.strategies._turning_attention import turn_within_attention


class JitCudaGraphStrategy(StaticStrategy):
    """Runs what inductor makes of the model as one CUDA graph a step, with kernels of our own where it lags behind."""

    name = "jit-cuda-graph"
    getting_ready = "compile and capture"

    def check_device(self, device: torch.device) -> None:
        require_gpu(self.name, device)

    def make_step(self, model: Any, device: torch.device) -> StaticStep:
        fuse_projections(model)
        use_skinny_products(model)
        use_kernel_attention(model)
        keep_rotations(model)
        self._pool = GraphPool(device)
        rewrites = (turn_within_attention, halve_deep_products, join_one_row)
        self._regions = Regions(self._inductor_options(device), rewrites)
        return StaticStep(model, self._capture, self._regions.compile, KernelDraws)

    def _inductor_options(self, device: torch.device) -> dict[str, object]:
        """Add a sum up once, not in every kernel that reads it; let kernels begin before the one before has ended.

        Kernels are not chosen by trial: a trial of some microseconds picks the slower one in every other process.
        """
        options = inductor_options(self.facts(), device)
        options |= {"realize_reads_threshold": 2, "triton.autotune_pointwise": False}
        if overlaps(device) and hasattr(torch._inductor.config.triton, "enable_pdl"):
            options["triton.enable_pdl"] = True
        return options

    def _capture(self, run: Callable[[], None], generator: torch.Generator | None) -> Callable[[], None]:
        """What replays a pass, which is compiled when it first runs."""
        with self._regions.foreseen():
            return self.pool.capture(run, generator)

    @on_every_rank
    def next_token_logits(self, prompts: tuple[tuple[int, ...], ...]) -> Tensor:
        """Logits of the token after each prompt (all of one length): [B, V], float32, on the host; not replayed."""
        step = self.step
        with self._regions.foreseen():
            return step.next_token_logits(prompts)

    def counts(self) -> Evidence:
        return replace(self._regions.evidence(), graphs_captured=self.pool.captured, graphs_replayed=self.pool.replayed)
