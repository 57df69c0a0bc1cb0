"""Owns TensorRT at run time: its runtime, what that complains of, what it compiles, and engines told where all lies.

It must not know what an engine computes.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perfsuite.core.errors import DeviceMemoryError, StrategyUnavailableError
from perfsuite.core.units import format_bytes
from perfsuite.models.device import free_bytes
from perfsuite.strategies._engine_build import is_no_room
from perfsuite.strategies._engine_toolkit import Toolkit

ALIGNMENT = 256
"""Bytes; TensorRT wants every address to be a multiple."""


class Runtime:
    """One TensorRT runtime, which deserialises engines; what it complains of is kept for the error that follows."""

    def __init__(self, toolkit: Toolkit) -> None:
        self.toolkit = toolkit
        self._complaints: list[str] = []
        self._log = _log(toolkit.runtime, self._complaints)
        self._runtime = toolkit.runtime.Runtime(self._log)

    def engine(self, data: bytes, what: str) -> Any:
        """A deserialised engine; DeviceMemoryError or StrategyUnavailableError if TensorRT does not take it."""
        engine = self._runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise self.problem(f"does not take {what}; build it again")
        return engine

    def problem(self, what: str) -> Exception:
        """What to raise where TensorRT gave nothing, in its own words."""
        words = self._complaints[0].splitlines()[0] if self._complaints else "it does not say why"
        no_room = is_no_room(self._complaints)
        self._complaints.clear()
        if no_room:
            return DeviceMemoryError(
                f"tensorrt: {self.toolkit.name} is out of memory ({words}); lower the batch size or the prompt and "
                "output length, or free the GPU"
            )
        return StrategyUnavailableError(
            f"tensorrt: {self.toolkit.name} {what}, or use --perf-strategy jit-cuda-graph ({words})"
        )


def _log(trt: Any, complaints: list[str]) -> Any:
    """What TensorRT is given to log to: errors are kept, everything else is dropped."""
    serious = (trt.Logger.Severity.ERROR, trt.Logger.Severity.INTERNAL_ERROR)

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            if severity in serious:
                complaints.append(text)

    return Log()


class Kernels:
    """What the runtime compiles of one pair of engines; TensorRT itself compiles when it builds and keeps nothing."""

    def __init__(self, runtime: Runtime, kept: bytes | None) -> None:
        self.runtime = runtime
        self._kept = kept
        self._cache: Any = None
        self.specialise = False
        """Whether contexts made from now on get kernels for their very shape, which takes time once."""

    def context(self, engine: Any) -> Any:
        """An execution context without memory of its own; errors as `Runtime.engine`."""
        toolkit = self.runtime.toolkit
        trt = toolkit.runtime
        allocation = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not toolkit.is_rtx:
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
            raise self.runtime.problem("makes no context to run an engine in; free the GPU")
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
        size = max(prefill.engine.device_memory_size_v2, decode.engine.device_memory_size_v2, ALIGNMENT)
        self._scratch = _scratch(size, device)

    def prefill(self) -> "Bound":
        """A context of its own for prompts."""
        return self._bound(self._prefill)

    def decode(self) -> "Bound":
        """A context of its own for decode steps."""
        return self._bound(self._decode)

    def _bound(self, part: Part) -> "Bound":
        context = self.kernels.context(part.engine)
        context.set_device_memory(self._scratch.data_ptr(), self._scratch.numel())
        return Bound(self.kernels.runtime, context, part, self._scratch)


class Bound:
    """An execution context, which is told at each run where everything lies."""

    def __init__(self, runtime: Runtime, context: Any, part: Part, scratch: Tensor) -> None:
        self._runtime = runtime
        self._context = context
        self._part = part
        self._scratch = scratch  # which the context knows by its address only

    def run(self, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        """Run on the current stream; errors as `Runtime.engine` if TensorRT does not take what it is given."""
        context = self._context
        for name, tensor in zip(self._part.inputs, inputs, strict=True):
            if not context.set_input_shape(name, tuple(tensor.shape)):
                raise self._runtime.problem(f"does not take {tuple(tensor.shape)} for input {name!r}; build it again")
            context.set_tensor_address(name, tensor.data_ptr())
        for name, tensor in zip(self._part.outputs, outputs, strict=True):
            context.set_tensor_address(name, tensor.data_ptr())
        if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise self._runtime.problem("could not run an engine; build it again")


def _scratch(size: int, device: torch.device) -> Tensor:
    try:
        return torch.empty(size, dtype=torch.uint8, device=device)
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(
            f"{device} has no room for the {format_bytes(size)} that the engines compute in, "
            f"{format_bytes(free_bytes(device) or 0)} are free; lower the batch size, or free the GPU"
        ) from error
