"""Owns what the strategies over a static cache share: opening, getting passes ready, and the account of it.

It must not know whether a pass is compiled, and of graphs only that they are let go of.
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from perfsuite.core.errors import StrategyUnavailableError
from perfsuite.core.recording import Evidence
from perfsuite.core.sample import Request
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.strategy import ALL_SAMPLING, Ability
from perfsuite.models.device import find_device
from perfsuite.strategies._graphs import GraphPool
from perfsuite.strategies._inprocess import InProcess
from perfsuite.strategies._of_ranks import on_every_rank
from perfsuite.strategies._static import require_static_cache, use_static_attention
from perfsuite.strategies._static_step import StaticStep


class StaticStrategy(InProcess):
    """A strategy whose passes are made ready before they are timed; a subclass says what a pass becomes."""

    name: str
    getting_ready: str
    """What the phase after loading is called."""
    abilities = ALL_SAMPLING | {Ability.BATCH, Ability.LOGITS, Ability.QUANTIZATION, Ability.TENSOR_PARALLEL}

    def __init__(self) -> None:
        super().__init__()
        self._step: StaticStep | None = None
        self._pool: GraphPool | None = None
        self._notes: tuple[str, ...] = ()
        self._prepared_at_open = 0

    def check_device(self, device: torch.device) -> None:
        """StrategyUnavailableError if the strategy cannot run there."""
        return

    def phases_of_its_own(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        """What has to happen between loading the model and getting passes ready; its phases, as `open` yields them."""
        return iter(())

    @abstractmethod
    def make_step(self, model: Any, device: torch.device) -> StaticStep:
        """The step that makes this strategy what it is; it may change the model."""

    @abstractmethod
    def counts(self) -> Evidence:
        """What proves that the step engaged; asked while the strategy is open."""

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        self.check_device(find_device(model.device))
        yield "load"
        loaded = self.load(model, workloads)
        require_static_cache(loaded.model)
        self._notes = self.notes()
        use_static_attention(loaded.model)
        yield from self.phases_of_its_own(model, workloads)
        yield self.getting_ready
        self._step = self.make_step(loaded.model, loaded.device)
        self.start(self._step)
        with self.all_ranks_ready():
            # A rank that went on without what does not fit there would sum up other things than the others.
            self._step.expect(workloads, all_must_fit=self.seat.size > 1)
        self._prepared_at_open = self._step.prepared

    @property
    def step(self) -> StaticStep:
        if self._step is None:
            raise RuntimeError("the strategy is not open")
        return self._step

    def prepare(self, request: Request) -> None:
        """Make ready what a request will run; what is compiled or captured for it belongs to no latency."""
        self.check_length(request)
        self.on_all_ranks(StaticStrategy.make_ready, request)

    def make_ready(self, request: Request) -> None:
        """The same on this rank alone."""
        self.step.prepare(request)

    @on_every_rank
    def next_token_logits(self, prompts: tuple[tuple[int, ...], ...]) -> Tensor:
        """Logits of the token after each prompt (all of one length): [B, V], float32, on the host; not replayed."""
        return self.step.next_token_logits(prompts)

    def evidence(self) -> Evidence:
        """What engaged; passes that were prepared after opening are noted, as they cost a first request time."""
        late = f"passes prepared after opening: {self.step.prepared - self._prepared_at_open}"
        counts = self.counts()
        return replace(counts, notes=(*self._notes, self.step.note(), *counts.notes, late))

    @property
    def pool(self) -> GraphPool:
        """The graphs of a strategy that captures its passes."""
        if self._pool is None:
            raise RuntimeError("the strategy is not open")
        return self._pool

    def release_graphs(self) -> None:
        if self._pool is not None:
            self._pool.release()

    def close(self) -> None:
        self.release_graphs()
        self._step = self._pool = None
        super().close()


def require_gpu(name: str, device: torch.device) -> None:
    """StrategyUnavailableError unless the device takes CUDA graphs."""
    if device.type != "cuda":
        raise StrategyUnavailableError(
            f"{name} needs an NVIDIA GPU; run it where torch sees one, or use --perf-strategy eager"
        )
