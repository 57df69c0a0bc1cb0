"""Owns the eager strategy: plain transformers with a DynamicCache, one kernel launch after the other."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from perfsuite.core.errors import StrategyUnavailableError
from perfsuite.core.recording import Evidence
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.strategy import ALL_SAMPLING, Ability
from perfsuite.strategies._decode import SampledStep, last_position_only, next_token_logits
from perfsuite.strategies._inprocess import InProcess
from perfsuite.strategies._of_ranks import on_every_rank


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


class EagerStrategy(InProcess):
    """Runs a model as transformers does, without compilation or graphs: what every other strategy is compared with."""

    name = "eager"
    abilities = ALL_SAMPLING | {Ability.BATCH, Ability.LOGITS, Ability.QUANTIZATION, Ability.TENSOR_PARALLEL}

    def __init__(self) -> None:
        super().__init__()
        self._forward: EagerForward | None = None

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        yield "load"
        loaded = self.load(model, workloads)
        self._forward = EagerForward(loaded.model)
        with self.all_ranks_ready():
            self.start(SampledStep(self._forward, loaded.device))

    @on_every_rank
    def next_token_logits(self, prompts: tuple[tuple[int, ...], ...]) -> Tensor:
        """Logits of the token after each prompt (all of one length): [B, V], float32, on the host."""
        if self._forward is None:
            raise RuntimeError("the strategy is not open")
        return next_token_logits(self._forward, prompts, self.loaded.device)

    def evidence(self) -> Evidence:
        return Evidence(notes=self.notes())

    def close(self) -> None:
        self._forward = None
        super().close()
