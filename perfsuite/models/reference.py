"""Owns the reference that logits are compared with: plain transformers in float32 on the very weights of a strategy."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from perfsuite.core.workload import ModelFacts, ModelSpec
from perfsuite.models.load import load


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
