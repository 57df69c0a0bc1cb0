"""Owns engines at work: deserialised, bound to memory that never moves, and run on the current stream.

A pass may be captured in a CUDA graph: nothing in it depends on a value on the device. It must not know where engines
come from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perfsuite.core.errors import DeviceMemoryError, StrategyUnavailableError
from perfsuite.core.units import format_bytes
from perfsuite.models.device import free_bytes
from perfsuite.strategies._engine_passes import Outputs
from perfsuite.strategies._engine_toolkit import Toolkit

_ALIGNMENT = 256
"""Bytes; TensorRT wants every address to be a multiple."""


class Runtime:
    """One TensorRT runtime: deserialises engines, and keeps what it compiles of them for this GPU.

    `kernels` is what an earlier runtime kept, so that the same need not be compiled again.
    """

    def __init__(self, toolkit: Toolkit) -> None:
        trt = toolkit.runtime
        self.toolkit = toolkit
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))

    def engine(self, data: bytes, what: str) -> Any:
        """A deserialised engine; StrategyUnavailableError if TensorRT does not take it."""
        engine = self._runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise StrategyUnavailableError(
                f"tensorrt: {self.toolkit.name} does not take {what}, though it was built here; build it again, or use "
                "--perf-strategy jit-cuda-graph"
            )
        return engine


class Kernels:
    """What the runtime compiles of one pair of engines; TensorRT itself compiles when it builds and keeps nothing."""

    def __init__(self, toolkit: Toolkit, kept: bytes | None) -> None:
        self._toolkit = toolkit
        self._kept = kept
        self._cache: Any = None
        self.specialise = False
        """Whether contexts made from now on get kernels for their very shape, which takes time once."""

    def context(self, engine: Any) -> Any:
        """An execution context without memory of its own; DeviceMemoryError if TensorRT cannot make one."""
        trt = self._toolkit.runtime
        allocation = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not self._toolkit.is_rtx:
            context = engine.create_execution_context(allocation)
        else:
            settings = engine.create_runtime_config()
            settings.set_execution_context_allocation_strategy(allocation)
            strategies = trt.DynamicShapesKernelSpecializationStrategy
            settings.dynamic_shapes_kernel_specialization_strategy = (
                strategies.EAGER if self.specialise else strategies.NONE
            )
            settings.set_runtime_cache(self._shared_cache(settings))
            context = engine.create_execution_context(settings)
        if context is None:
            raise DeviceMemoryError(
                "TensorRT could not make an execution context; free the GPU, or lower the batch size"
            )
        return context

    def _shared_cache(self, settings: Any) -> Any:
        if self._cache is None:
            self._cache = settings.create_runtime_cache()
            if self._kept:
                self._cache.deserialize(self._kept)
        return self._cache

    def kept(self) -> bytes | None:
        """What to keep for the next runtime; `None` if nothing was compiled."""
        return None if self._cache is None else bytes(self._cache.serialize())


class EngineForward:
    """A Forward of two engines over a cache of fixed length, [2 x layers, rows, heads, length, D]: keys, then values.

    A decode step's new states come out beside the cache, and one kernel puts those of all layers into it.
    """

    def __init__(self, engines: "Engines", length: int, example: Outputs, weights: Mapping[str, Tensor]) -> None:
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
        self._over_prompt: dict[int, _Bound] = {}
        self._over_cache: _Bound | None = None

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

    def _prompt_pass(self, tokens: int) -> "_Bound":
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
        per_address = _ALIGNMENT // dtype.itemsize
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A deserialised engine, and the names of its inputs and outputs in the order of a pass."""

    engine: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Engines:
    """The two engines of one shape, and the scratch memory that all of their contexts share, one running at a time."""

    def __init__(self, prefill: Part, decode: Part, kernels: Kernels, device: torch.device) -> None:
        self.kernels = kernels
        self._prefill, self._decode = prefill, decode
        size = max(prefill.engine.device_memory_size_v2, decode.engine.device_memory_size_v2, _ALIGNMENT)
        self._scratch = _scratch(size, device)

    def prefill(self) -> "_Bound":
        """A context of its own for prompts."""
        return self._bound(self._prefill)

    def decode(self) -> "_Bound":
        """A context of its own for decode steps."""
        return self._bound(self._decode)

    def _bound(self, part: Part) -> "_Bound":
        context = self.kernels.context(part.engine)
        context.set_device_memory(self._scratch.data_ptr(), self._scratch.numel())
        return _Bound(context, part, self._scratch)


class _Bound:
    """An execution context, which is told at each run where everything lies."""

    def __init__(self, context: Any, part: Part, scratch: Tensor) -> None:
        self._context = context
        self._part = part
        self._scratch = scratch  # which the context knows by its address only

    def run(self, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        """Run on the current stream; RuntimeError if TensorRT does not take what it is given."""
        context = self._context
        for name, tensor in zip(self._part.inputs, inputs, strict=True):
            if not context.set_input_shape(name, tuple(tensor.shape)):
                raise RuntimeError(f"TensorRT does not take {tuple(tensor.shape)} for its input {name!r}")
            context.set_tensor_address(name, tensor.data_ptr())
        for name, tensor in zip(self._part.outputs, outputs, strict=True):
            context.set_tensor_address(name, tensor.data_ptr())
        if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise RuntimeError("TensorRT could not run an engine; its own words are on standard error")


def _scratch(size: int, device: torch.device) -> Tensor:
    try:
        return torch.empty(size, dtype=torch.uint8, device=device)
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(
            f"{device} has no room for the {format_bytes(size)} that the engines compute in, "
            f"{format_bytes(free_bytes(device) or 0)} are free; lower the batch size, or free the GPU"
        ) from error
