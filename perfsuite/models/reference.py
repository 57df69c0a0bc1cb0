"""Owns the reference that strategies are compared with: plain transformers in float32 on the very weights of one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from perfsuite.core.errors import PerfsuiteError
from perfsuite.core.rounding import UNIT_ROUNDOFF
from perfsuite.core.units import format_bytes
from perfsuite.core.workload import ModelFacts, ModelSpec
from perfsuite.models.configuration import location
from perfsuite.models.load import is_dummy, load

MOST_BYTES = 2**30
"""Weights up to this size are read once more, into host memory, to hold an engine's draws against."""
WEIGHT_FILES = ("*.safetensors", "*.bin")


class SavedWeights:
    """Eager in float32 on the host, with the weights of a folder as an engine that computes in `dtype` has them."""

    def __init__(self, spec: ModelSpec, dtype: str) -> None:
        known = dtype if dtype in UNIT_ROUNDOFF else "float32"
        loaded = load(replace(spec, dtype=known, device="cpu", quantization=None))
        self._model: Any = loaded.model.float()
        self.dtype = dtype
        self.layers = loaded.facts.layers

    def next_token_logits(self, prompts: tuple[tuple[int, ...], ...]) -> NDArray[np.float64]:
        """Logits [B, V] of the token after each prompt (all of one length)."""
        with torch.inference_mode():
            logits: NDArray[np.float64] = self._model(torch.tensor(prompts)).logits[:, -1].double().numpy()
        return logits


def saved_weights(spec: ModelSpec, dtype: str) -> SavedWeights | str:
    """The reference of a model in a folder; why there is none, in words that go on after 'and'."""
    if is_dummy(spec):
        return "its dummy weights are the engine's own"
    folder = Path(location(spec))
    size = (
        sum(path.stat().st_size for pattern in WEIGHT_FILES for path in folder.glob(pattern)) if folder.is_dir() else 0
    )
    if not size:
        return f"no folder with the weights of {spec.name!r} is here; name it with --perf-model"
    if size > MOST_BYTES:
        most = format_bytes(MOST_BYTES)
        return f"its weights of {format_bytes(size)} are too large to be read once more beside it (at most {most})"
    try:
        return SavedWeights(spec, dtype)
    except PerfsuiteError as error:
        return f"its weights cannot be read once more: {error}"


def reference_logits(spec: ModelSpec, facts: ModelFacts, prompts: tuple[tuple[int, ...], ...]) -> NDArray[np.float64]:
    """Logits [B, V] of the token after each prompt (all of one length).

    The weights are loaded in the strategy's dtype and only then widened, so that both have the same ones. Raises what
    `perfsuite.models.load.load` raises.
    """
    model: Any = load(replace(spec, dtype=facts.dtype, device=facts.device)).model.float()
    with torch.inference_mode():
        ids = torch.tensor(prompts, device=facts.device)
        logits: NDArray[np.float64] = model(ids).logits[:, -1].double().cpu().numpy()
    return logits
