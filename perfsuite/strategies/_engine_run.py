"""Owns a model's passes through its engines: bound to memory that never moves, and run on the current stream.

A pass may be captured in a CUDA graph: nothing in it depends on a value on the device. It must not know where engines
come from.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from perfsuite.strategies._engine_passes import Outputs
from perfsuite.strategies._engine_runtime import ALIGNMENT, Bound, Engines


class EngineForward:
    """A Forward of two engines over a cache of fixed length, [2 x layers, rows, heads, length, D]: keys, then values.

    A decode step's new states come out beside the cache, and one kernel puts those of all layers into it.
    """

    def __init__(self, engines: Engines, length: int, example: Outputs, weights: Mapping[str, Tensor]) -> None:
        """`example` is what a pass over one token of each row gives, which shows what there is to keep."""
        logits, *states = example
        self.length = length
        self._engines = engines
        self._weights = [weight.contiguous() for weight in weights.values()]  # an engine sees addresses, no strides
        self._logits = torch.empty_like(logits)
        device, dtype = states[0].device, states[0].dtype
        rows, heads, _, width = states[0].shape
        self._cache = torch.zeros((len(states), rows, heads, length, width), dtype=dtype, device=device)
        self._prompt_states = _Slots(len(states), (rows, heads, length, width), dtype, device)
        self._token_states = _Slots(len(states), (rows, heads, 1, width), dtype, device)
        self._positions = torch.arange(length, device=device).unsqueeze(0)
        self._position = torch.zeros((1, 1), dtype=torch.int64, device=device)
        self._over_prompt: dict[int, Bound] = {}
        self._over_cache: Bound | None = None

    def prefill(self, ids: Tensor) -> Tensor:
        tokens = ids.shape[1]
        states = self._prompt_states.of_tokens(tokens)
        bound = self._prompt_pass(tokens)
        bound.run([ids, self._positions[:, :tokens], *self._weights], [self._logits, *states])
        self._cache[:, :, :, :tokens].copy_(states)
        self._position.fill_(tokens)
        return self._logits

    def decode(self, ids: Tensor) -> Tensor:
        if self._over_cache is None:
            self._over_cache = self._engines.decode()
        states = self._token_states.of_tokens(1)
        kept = self._cache.unbind()
        self._over_cache.run([ids, self._position, *kept, *self._weights], [self._logits, *states])
        self._cache.index_copy_(3, self._position[0], states)
        self._position.add_(1)
        return self._logits

    def rewind(self) -> None:
        """Go back to the first position, so that decode steps can be tried out before any prefill."""
        self._position.zero_()

    @property
    def cache_bytes(self) -> int:
        """What the cache takes, with the room for the states of a prompt before they are put into it."""
        return self._cache.numel() * self._cache.element_size() + self._prompt_states.bytes

    def _prompt_pass(self, tokens: int) -> Bound:
        """One for each length that was made ready, one for all others."""
        key = tokens if self._engines.kernels.specialise else 0
        known = self._over_prompt.get(tokens) or self._over_prompt.get(key)
        if known is None:
            known = self._over_prompt[key] = self._engines.prefill()
        return known


class _Slots:
    """Room for the states of all layers, each at an address that TensorRT takes, to be seen as one tensor."""

    def __init__(self, count: int, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> None:
        rows, heads, tokens, width = shape
        per_address = ALIGNMENT // dtype.itemsize
        size = -(-rows * heads * tokens * width // per_address) * per_address
        self._room = torch.zeros((count, size), dtype=dtype, device=device)
        self._shape = (rows, heads, width)

    @property
    def bytes(self) -> int:
        return self._room.numel() * self._room.element_size()

    def of_tokens(self, tokens: int) -> Tensor:
        """The states of so many tokens, [count, rows, heads, tokens, D]."""
        rows, heads, width = self._shape
        used = self._room[:, : rows * heads * tokens * width]
        return used.view(len(used), rows, heads, tokens, width)
