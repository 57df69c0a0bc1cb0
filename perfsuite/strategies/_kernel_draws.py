"""Owns draws by kernels of our own, which take the parameters from the device: one captured pass serves them all.

Chance is a number of the seed, the draw's place in the request, the row and the token (Philox-4x32-10; Salmon et al.
2011), so no generator's state has to be carried along. Triton is imported where draws are first made.
"""

import numpy as np
import torch
from torch import Tensor

from perfsuite.core.workload import SamplingParams
from perfsuite.strategies._sampler import Draws

_SEEDS = 2**63


class KernelDraws:
    """The draws of one request after the other, as `_sampler.Draws` makes them, for `rows` sequences on a GPU.

    `first` and `next` work in place on the same memory, so that they can be captured. The kernels serve what is greedy
    or has a small top-k; anything else would keep one block busy for long, and is drawn by torch's own kernels.
    """

    @torch.inference_mode(mode=False)  # or it could be written to in that mode only
    def __init__(self, device: torch.device, rows: int) -> None:
        from perfsuite.strategies import _triton_sampler

        self._kernels = _triton_sampler
        self._others = Draws(device)
        staged = torch.zeros(len(_triton_sampler.PARAMETERS), dtype=torch.int64, pin_memory=device.type == "cuda")
        self._whole, self._broken = staged.numpy(), staged.numpy().view(np.float64)
        self._staged, self._parameters = staged, torch.zeros_like(staged, device=device)
        self._step = torch.zeros(rows, dtype=torch.int64, device=device)
        self._seen: Tensor | None = None
        self._stage(SamplingParams(temperature=0))

    def _serves(self, params: SamplingParams) -> bool:
        return params.is_greedy or 0 < params.top_k <= self._kernels.PLACES

    def kind(self, params: SamplingParams) -> tuple[float, ...]:
        """What of the parameters a captured draw holds for good: nothing, where the kernels draw."""
        return () if self._serves(params) else self._others.kind(params)

    def generator_of(self, params: SamplingParams) -> torch.Generator | None:
        """What a captured draw takes its chance from, if it is a generator."""
        return None if self._serves(params) else self._others.generator_of(params)

    def begin(self, params: SamplingParams) -> None:
        """Begin a request; its parameters count from `first` on."""
        if self._serves(params):
            self._stage(params)
        else:
            self._others.begin(params)

    def _stage(self, params: SamplingParams) -> None:
        greedy = params.is_greedy
        self._whole[:2] = params.seed % _SEEDS, 1 if greedy else params.top_k
        self._broken[2:] = 1.0 if greedy else params.temperature, params.top_p, params.repetition_penalty

    def first(self, logits: Tensor, prompts: Tensor, params: SamplingParams, drawn: Tensor) -> None:
        """Ids into `drawn` [B, 1] from logits [B, V] after the prompts [B, L]; what was seen before is forgotten."""
        if self._serves(params):
            self._parameters.copy_(self._staged, non_blocking=True)
            self._draw(logits, prompts, drawn, is_first=True)
        else:
            self._others.first(logits, prompts, params, drawn)

    def next(self, logits: Tensor, ids: Tensor, params: SamplingParams, drawn: Tensor) -> None:
        """Ids into `drawn` [B, 1] from logits [B, V] after the ids [B, 1] that the step took in."""
        if self._serves(params):
            self._draw(logits, ids, drawn, is_first=False)
        else:
            self._others.next(logits, ids, params, drawn)

    def _draw(self, logits: Tensor, ids: Tensor, drawn: Tensor, *, is_first: bool) -> None:
        if self._seen is None or self._seen.shape != logits.shape:
            self._seen = self._laid_out(logits)
        kernels, parameters = self._kernels, self._parameters
        kernels.pick(logits, ids, self._seen, parameters, self._orders, self._picked, self._counts, is_first)
        kernels.draw(parameters, self._orders, self._picked, self._counts, self._step, drawn, is_first)

    @torch.inference_mode(mode=False)
    def _laid_out(self, logits: Tensor) -> Tensor:
        """What was seen, [B, V] (uint8); and the memory between the kernels."""
        rows, vocabulary = logits.shape
        stretches = -(-vocabulary // self._kernels.STRETCH)
        self._orders = logits.new_zeros((rows, vocabulary), dtype=torch.int32)
        self._picked = logits.new_zeros((rows, 2, stretches, self._kernels.PLACES), dtype=torch.int32)
        self._counts = logits.new_zeros((rows, stretches), dtype=torch.int32)
        return logits.new_zeros((rows, vocabulary), dtype=torch.uint8)
