"""Owns the eager strategy: plain transformers with a DynamicCache, one kernel launch after the other."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from perfsuite.core.errors import StrategyUnavailableError
from perfsuite.core.recording import Evidence, Memory
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import ModelFacts, ModelSpec, Workload
from perfsuite.measure.strategy import ALL_SAMPLING, Ability
from perfsuite.strategies._canary import Canaries
from perfsuite.strategies._decode import SampledStep, last_position_only, next_token_logits
from perfsuite.strategies._gauges import Gauges
from perfsuite.strategies._inprocess import InProcess


class EagerForward:
    """The model as it is; logits of the last position only, in a cache that grows with the sequence."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: Any = None
        self._limit = last_position_only(model)

    def prefill(self, ids: Tensor) -> Tensor:
        self._cache = None  # before the pass, so that two caches never live at once
        logits = self.decode(ids)
        if self._cache is None:
            raise StrategyUnavailableError(
                f"a {self._model.config.model_type!r} model keeps no past_key_values; give an attention model"
            )
        return logits

    def decode(self, ids: Tensor) -> Tensor:
        output = self._model(input_ids=ids, past_key_values=self._cache, use_cache=True, **self._limit)
        self._cache = getattr(output, "past_key_values", None)
        logits: Tensor = output.logits[:, -1]
        return logits


class EagerStrategy:
    """Runs a model as transformers does, without compilation or graphs: what every other strategy is compared with."""

    name = "eager"
    abilities = ALL_SAMPLING | {Ability.BATCH, Ability.LOGITS}

    def __init__(self) -> None:
        self._process = InProcess()
        self._forward: EagerForward | None = None

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        yield "load"
        loaded = self._process.load(model, workloads)
        self._forward = EagerForward(loaded.model)
        self._process.start(SampledStep(self._forward, loaded.device))

    def stream(self, request: Request) -> Iterator[Chunk]:
        return self._process.stream(request)

    def next_token_logits(self, prompts: tuple[tuple[int, ...], ...]) -> Tensor:
        """Logits of the token after each prompt (all of one length): [B, V], float32, on the host."""
        if self._forward is None:
            raise RuntimeError("the strategy is not open")
        return next_token_logits(self._forward, prompts, self._process.loaded.device)

    def facts(self) -> ModelFacts:
        return self._process.facts()

    def evidence(self) -> Evidence:
        return Evidence(notes=self._process.notes())

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
        self._forward = None
        self._process.close()
