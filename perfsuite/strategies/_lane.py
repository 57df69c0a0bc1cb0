"""Owns what of a batch size never moves in memory: prompts, last ids, cache and seen ids, and the passes over them."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from perfsuite.core.workload import SamplingParams
from perfsuite.strategies._decode import Forward
from perfsuite.strategies._sampler import Draws
from perfsuite.strategies._transfer import Inlet, Landing

Run = Callable[[], None]


class LaneDraws(Protocol):
    """How ids are drawn in passes that are made ready once for many requests; see `_sampler.Draws`."""

    def kind(self, params: SamplingParams) -> tuple[float, ...]: ...

    def generator_of(self, params: SamplingParams) -> torch.Generator | None: ...

    def begin(self, params: SamplingParams) -> None: ...

    def first(self, logits: Tensor, prompts: Tensor, params: SamplingParams, drawn: Tensor) -> None: ...

    def next(self, logits: Tensor, ids: Tensor, params: SamplingParams, drawn: Tensor) -> None: ...


MakeDraws = Callable[[torch.device, int], LaneDraws]
"""Makes the draws of a lane of so many rows."""


def plain_draws(device: torch.device, _: int) -> LaneDraws:
    """By torch's own kernels."""
    return Draws(device)


class LaneForward(Forward, Protocol):
    """A Forward over a cache of fixed length, whose passes can be made ready in any order."""

    length: int

    def rewind(self) -> None:
        """Go back to the first position, so that decode steps can be tried out before any prefill."""
        ...

    @property
    def cache_bytes(self) -> int:
        """What the cache takes."""
        ...


class Lane:
    """Everything of one batch size that stays where it is in memory, and the passes over it.

    `ids` [B, 1] (int64) is what the last pass drew, and what a decode pass takes in. A pass takes prompts from where
    `inlet` stages them, and leaves what it drew at `drawn`, on the host: so a graph of it holds both copies.
    """

    def __init__(
        self,
        forward: LaneForward,
        rows: int,
        device: torch.device,
        make_draws: MakeDraws = plain_draws,
        inlet: Inlet | None = None,
    ) -> None:
        self.forward = forward
        self.draws = make_draws(device, rows)
        self.ids = torch.zeros((rows, 1), dtype=torch.int64, device=device)
        self.drawn = Landing(rows) if device.type == "cuda" else self.ids
        self._inlet = inlet or Inlet(device)
        self.prepared: dict[tuple[float, ...], Run] = {}
        self._prompts: dict[int, Tensor] = {}

    @torch.inference_mode(mode=False)  # or a pass would be compiled anew for prompts made in that mode
    def prompts(self, tokens: int) -> Tensor:
        """Where prompts of so many tokens go, [B, tokens] (int64)."""
        if tokens not in self._prompts:
            self._prompts[tokens] = self.ids.new_zeros((len(self.ids), tokens))
        return self._prompts[tokens]

    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def prefill(self, tokens: int, sampling: SamplingParams) -> None:
        prompts = self.prompts(tokens)
        prompts.copy_(self._inlet.staged(*prompts.shape), non_blocking=True)
        self.draws.first(self.forward.prefill(prompts), prompts, sampling, self.ids)
        self._land()

    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def decode(self, sampling: SamplingParams) -> None:
        self.draws.next(self.forward.decode(self.ids), self.ids, sampling, self.ids)
        self._land()

    def _land(self) -> None:
        if isinstance(self.drawn, Landing):
            self.drawn.column.copy_(self.ids, non_blocking=True)
