"""Owns the cuda-graph strategy: prefill and decode steps, sampling included, captured once and replayed."""

from typing import Any

import torch

from perfsuite.core.recording import Evidence
from perfsuite.strategies._fusion import fuse_norms, fuse_projections, fuse_rotations
from perfsuite.strategies._graphs import GraphPool
from perfsuite.strategies._static_step import StaticStep
from perfsuite.strategies._static_strategy import StaticStrategy, require_gpu


class CudaGraphStrategy(StaticStrategy):
    """Runs torch's own kernels, as few as there are for the model, as one CUDA graph a step."""

    name = "cuda-graph"
    getting_ready = "capture"

    def check_device(self, device: torch.device) -> None:
        require_gpu(self.name, device)

    def make_step(self, model: Any, device: torch.device) -> StaticStep:
        fuse_projections(model)
        fuse_norms(model)
        fuse_rotations(model)
        self._pool = GraphPool(device)
        return StaticStep(model, self._pool.capture)

    def counts(self) -> Evidence:
        return Evidence(graphs_captured=self.pool.captured, graphs_replayed=self.pool.replayed)
