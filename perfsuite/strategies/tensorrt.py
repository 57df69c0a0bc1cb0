"""Owns the tensorrt strategy: prefill and decode as TensorRT engines, captured with the sampler and replayed."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perfsuite.core.recording import Evidence
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.strategy import ALL_SAMPLING, Ability
from perfsuite.models.device import find_device
from perfsuite.models.load import load
from perfsuite.strategies._engine_build import Shape
from perfsuite.strategies._engine_library import Library
from perfsuite.strategies._engine_toolkit import find_toolkit
from perfsuite.strategies._fusion import fuse_projections
from perfsuite.strategies._graphs import GraphPool
from perfsuite.strategies._static import require_static_cache
from perfsuite.strategies._static_step import LaneForward, StaticStep, cache_length
from perfsuite.strategies._static_strategy import StaticStrategy, require_gpu


def build_folder(spec: ModelSpec, batch_sizes: Iterable[int], positions: int, folder: Path) -> Iterator[str]:
    """Build the engines of a model for these batch sizes, and say what was built, a line for each.

    OptionError, ModelLoadError, DeviceMemoryError or StrategyUnavailableError for whatever cannot be done.
    """
    device = find_device(spec.device)
    require_gpu(TensorRTStrategy.name, device)
    toolkit = find_toolkit()
    loaded = load(spec)
    require_static_cache(loaded.model)
    fuse_projections(loaded.model)
    library = Library(spec, loaded, toolkit, folder)
    for rows in batch_sizes:
        yield library.build(Shape(rows=rows, length=cache_length(positions)))


class EngineStep(StaticStep):
    """A Step whose passes are engines of a library."""

    def __init__(self, model: Any, library: Library, prepare: Any) -> None:
        super().__init__(model, prepare)
        self._library = library

    def make_forward(self, rows: int, length: int) -> LaneForward:
        return self._library.forward(rows, length)


class TensorRTStrategy(StaticStrategy):
    """Runs one engine a pass, and the pass with its sampler as one CUDA graph a step."""

    name = "tensorrt"
    getting_ready = "capture"
    abilities = ALL_SAMPLING | {Ability.BATCH, Ability.LOGITS}

    def __init__(self) -> None:
        super().__init__()
        self._engine_folder: Path | None = None
        self._library: Library | None = None

    def keep_engines_in(self, folder: Path) -> None:
        """Run the engines of this folder from now on, and no others."""
        self._engine_folder = folder

    def check_device(self, device: torch.device) -> None:
        require_gpu(self.name, device)

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        self.check_device(find_device(model.device))
        toolkit = find_toolkit()
        yield "load"
        loaded = self.load(model, workloads)
        require_static_cache(loaded.model)
        fuse_projections(loaded.model)
        self._library = library = Library(model, loaded, toolkit, self._engine_folder)
        longest: dict[int, int] = {}
        for each in workloads:
            longest[each.batch_size] = max(longest.get(each.batch_size, 0), each.total_tokens)
        shapes = [library.fitting(rows, cache_length(tokens)) for rows, tokens in longest.items()]
        missing = library.missing(shapes)
        if missing:
            yield "build engines"
            for shape in missing:
                library.build(shape)
        yield "load engines"
        self._notes = ("attention: in the engine", *self.notes()[1:])
        self._pool = GraphPool(loaded.device)
        self._step = EngineStep(loaded.model, library, self._capture)
        for each in workloads:
            self._step.lane(each.batch_size, longest[each.batch_size])
        yield self.getting_ready
        self.start(self._step)
        self._step.expect(workloads)
        self._prepared_at_open = self._step.prepared
        library.keep_kernels()

    def make_step(self, model: Any, device: torch.device) -> StaticStep:
        raise NotImplementedError

    def _capture(self, run: Callable[[], None], generator: torch.Generator) -> Callable[[], None]:
        """What replays a pass, its engines' kernels made for its very shape."""
        self.library.specialise(True)
        try:
            return self._pool.capture(run, generator)
        finally:
            self.library.specialise(False)

    @property
    def library(self) -> Library:
        if self._library is None:
            raise RuntimeError("the strategy is not open")
        return self._library

    def next_token_logits(self, prompts: tuple[tuple[int, ...], ...]) -> Tensor:
        """Logits of the token after each prompt (all of one length): [B, V], float32, on the host; not replayed."""
        return self.step.next_token_logits(prompts)

    def counts(self) -> Evidence:
        return Evidence(
            graphs_captured=self._pool.captured,
            graphs_replayed=self._pool.replayed,
            engines=self.library.engines,
            kernel_fallbacks=0,
            notes=self.library.notes(),
        )

    def close(self) -> None:
        self._library = None
        super().close()
