"""Owns the jit strategy: the passes over a static cache compiled by torch.compile, and launched kernel by kernel."""

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from perfsuite.core.recording import Evidence, Memory
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import ModelFacts, ModelSpec, Workload
from perfsuite.measure.strategy import ALL_SAMPLING, Ability
from perfsuite.strategies._canary import Canaries
from perfsuite.strategies._compile import Regions
from perfsuite.strategies._gauges import Gauges
from perfsuite.strategies._inprocess import InProcess
from perfsuite.strategies._static import require_static_cache, use_static_attention
from perfsuite.strategies._static_step import StaticStep


class JitStrategy:
    """Runs what inductor makes of the model, without CUDA graphs: one prefill for all lengths, one decode step."""

    name = "jit"
    abilities = ALL_SAMPLING | {Ability.BATCH, Ability.LOGITS}

    def __init__(self) -> None:
        self._process = InProcess()
        self._regions: Regions | None = None
        self._step: StaticStep | None = None
        self._notes: tuple[str, ...] = ()
        self._compiled_at_open = 0

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        yield "load"
        loaded = self._process.load(model, workloads)
        require_static_cache(loaded.model)
        self._notes = self._process.notes()
        use_static_attention(loaded.model)
        yield "compile"
        self._regions = Regions()
        self._step = StaticStep(loaded.model, self._regions.prepare, self._regions.compile)
        self._process.start(self._step)
        self._step.expect(workloads)
        self._compiled_at_open = self._regions.compiled

    def stream(self, request: Request) -> Iterator[Chunk]:
        return self._process.stream(request)

    def next_token_logits(self, prompts: tuple[tuple[int, ...], ...]) -> Tensor:
        """Logits of the token after each prompt (all of one length): [B, V], float32, on the host."""
        if self._regions is None or self._step is None:
            raise RuntimeError("the strategy is not open")
        with self._regions.foreseen():
            return self._step.next_token_logits(prompts)

    def facts(self) -> ModelFacts:
        return self._process.facts()

    def evidence(self) -> Evidence:
        """What was compiled, and that nothing else ran; what was compiled after opening cost a first request time."""
        if self._regions is None or self._step is None:
            raise RuntimeError("the strategy is not open")
        counts = self._regions.evidence()
        late = f"regions compiled after opening: {self._regions.compiled - self._compiled_at_open}"
        return replace(counts, notes=(*self._notes, self._step.note(), *counts.notes, late))

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
        self._step = self._regions = None
        self._process.close()
