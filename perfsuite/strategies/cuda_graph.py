"""Owns the cuda-graph strategy: prefill and decode steps, sampling included, captured once and replayed."""

from collections.abc import Iterator

from torch import Tensor

from perfsuite.core.errors import StrategyUnavailableError
from perfsuite.core.recording import Evidence, Memory
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import ModelFacts, ModelSpec, Workload
from perfsuite.measure.strategy import ALL_SAMPLING, Ability
from perfsuite.models.device import find_device
from perfsuite.strategies._canary import Canaries
from perfsuite.strategies._gauges import Gauges
from perfsuite.strategies._graphs import GraphPool
from perfsuite.strategies._inprocess import InProcess
from perfsuite.strategies._static import require_static_cache, use_static_attention
from perfsuite.strategies._static_step import StaticStep


class CudaGraphStrategy:
    """Runs the kernels of the eager model as one CUDA graph a step, over a cache of fixed length."""

    name = "cuda-graph"
    abilities = ALL_SAMPLING | {Ability.BATCH, Ability.LOGITS}

    def __init__(self) -> None:
        self._process = InProcess()
        self._pool: GraphPool | None = None
        self._step: StaticStep | None = None
        self._notes: tuple[str, ...] = ()
        self._captured_at_open = 0

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        if find_device(model.device).type != "cuda":
            raise StrategyUnavailableError(
                "cuda-graph needs an NVIDIA GPU; run it where torch sees one, or use --perf-strategy eager"
            )
        yield "load"
        loaded = self._process.load(model, workloads)
        require_static_cache(loaded.model)
        self._notes = self._process.notes()
        use_static_attention(loaded.model)
        yield "capture"
        self._pool = GraphPool(loaded.device)
        self._step = StaticStep(loaded.model, self._pool.capture)
        self._process.start(self._step)
        self._step.expect(workloads)
        self._captured_at_open = self._pool.captured

    def stream(self, request: Request) -> Iterator[Chunk]:
        return self._process.stream(request)

    def next_token_logits(self, prompts: tuple[tuple[int, ...], ...]) -> Tensor:
        """Logits of the token after each prompt (all of one length): [B, V], float32, on the host; not replayed."""
        if self._step is None:
            raise RuntimeError("the strategy is not open")
        return self._step.next_token_logits(prompts)

    def facts(self) -> ModelFacts:
        return self._process.facts()

    def evidence(self) -> Evidence:
        """Graphs captured and replayed; those captured after opening are noted, as they cost a first request time."""
        if self._pool is None or self._step is None:
            raise RuntimeError("the strategy is not open")
        late = self._pool.captured - self._captured_at_open
        return Evidence(
            graphs_captured=self._pool.captured,
            graphs_replayed=self._pool.replayed,
            notes=(*self._notes, self._step.note(), f"graphs captured after opening: {late}"),
        )

    def memory(self) -> Memory:
        return self._process.memory()

    def device_ns(self) -> tuple[int, ...] | None:
        return self._process.device_ns()

    def canaries(self) -> Canaries:
        return self._process.canaries()

    def gauges(self) -> Gauges:
        return self._process.gauges()

    def slow_device(self, fraction: float) -> None:
        self._process.slow_device(fraction)

    def close(self) -> None:
        self._step = self._pool = None
        self._process.close()
