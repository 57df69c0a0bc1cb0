"""Owns the tensorrt strategy: prefill and decode as TensorRT engines, captured with the sampler and replayed."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from perfsuite.core.recording import Evidence
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.strategy import ALL_SAMPLING, Ability
from perfsuite.models.device import find_device
from perfsuite.models.load import LoadedModel, load
from perfsuite.strategies._engine_build import Shape
from perfsuite.strategies._engine_library import Library
from perfsuite.strategies._engine_toolkit import find_toolkit
from perfsuite.strategies._fusion import fuse_projections
from perfsuite.strategies._graphs import GraphPool
from perfsuite.strategies._lane import LaneForward
from perfsuite.strategies._static import require_static_cache
from perfsuite.strategies._static_step import Prepare, StaticStep, cache_length
from perfsuite.strategies._static_strategy import StaticStrategy, require_gpu

NAME = "tensorrt"


class TensorRTStrategy(StaticStrategy):
    """Runs one engine a pass, and the pass with its sampler as one CUDA graph a step."""

    name = NAME
    getting_ready = "capture"
    abilities = ALL_SAMPLING | {Ability.BATCH, Ability.LOGITS}

    def __init__(self) -> None:
        super().__init__()
        self._engine_folder: Path | None = None
        self._library: Library | None = None

    def keep_engines_in(self, folder: Path) -> None:
        """Run the engines of this folder, and no others, from the next `open` on."""
        self._engine_folder = folder

    @property
    def library(self) -> Library:
        if self._library is None:
            raise RuntimeError("the strategy is not open")
        return self._library

    def check_device(self, device: torch.device) -> None:
        """Before minutes go into loading: a GPU, and the packages that use it."""
        require_gpu(self.name, device)
        find_toolkit()

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        yield from super().open(model, workloads)
        self.library.keep_kernels()  # of the passes that were made ready

    def phases_of_its_own(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        self._library = library = _library_of(model, self.loaded, self._engine_folder)
        shapes = [library.fitting(shape.rows, shape.length) for shape in _shapes_of(workloads)]
        missing = library.missing(shapes)
        if missing:
            yield "build engines"
            for shape in missing:
                library.build(shape)
        yield "load engines"
        for shape in shapes:
            library.load(shape)

    def make_step(self, model: Any, device: torch.device) -> StaticStep:
        self._pool = GraphPool(device)
        return _EngineStep(model, self.library, self._capture)

    def _capture(self, run: Callable[[], None], generator: torch.Generator | None) -> Callable[[], None]:
        """What replays a pass, its engine's kernels made for its very shape."""
        with self.library.specialised():
            return self.pool.capture(run, generator)

    def notes(self) -> tuple[str, ...]:
        """Choices that matter to the numbers; attention is whatever TensorRT makes of it."""
        return ("attention: in the engine", *super().notes()[1:])

    def counts(self) -> Evidence:
        return Evidence(
            graphs_captured=self.pool.captured,
            graphs_replayed=self.pool.replayed,
            engines=self.library.engines,
            notes=self.library.notes(),
        )

    def close(self) -> None:
        self._library = None
        super().close()


class _EngineStep(StaticStep):
    """A Step whose passes are a library's engines."""

    can_be_shorter = False

    def __init__(self, model: Any, library: Library, prepare: Prepare) -> None:
        super().__init__(model, prepare)
        self._library = library

    def make_forward(self, rows: int, length: int) -> LaneForward:
        return self._library.forward(rows, length)


def build_folder(spec: ModelSpec, batch_sizes: Iterable[int], positions: int, folder: Path) -> Iterator[str]:
    """Build the engines of a model for these batch sizes, and say what was built, a line for each.

    OptionError, ModelLoadError, DeviceMemoryError or StrategyUnavailableError for whatever cannot be done.
    """
    require_gpu(NAME, find_device(spec.device))
    find_toolkit()
    loaded = load(spec)
    require_static_cache(loaded.model)
    library = _library_of(spec, loaded, folder)
    for rows in batch_sizes:
        yield library.build(Shape(rows=rows, length=cache_length(positions)))


def _library_of(spec: ModelSpec, loaded: LoadedModel, folder: Path | None) -> Library:
    """The engines of a model, whose projections are joined: TensorRT joins only those whose weights it holds itself."""
    fuse_projections(loaded.model)
    return Library(spec, loaded, find_toolkit(), folder)


def _shapes_of(workloads: Iterable[Workload]) -> list[Shape]:
    """One for each batch size, as long as its longest sequence."""
    longest: dict[int, int] = {}
    for each in workloads:
        longest[each.batch_size] = max(longest.get(each.batch_size, 0), each.total_tokens)
    return [Shape(rows=rows, length=cache_length(tokens)) for rows, tokens in longest.items()]
