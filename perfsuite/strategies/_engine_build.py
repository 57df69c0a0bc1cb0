"""Owns the way from a model to serialised engines: export, conversion to a TensorRT network, building.

All of a pass becomes one engine or nothing does: what has no counterpart in TensorRT is an error that names it. That is
why the network is made by the steps of which torch_tensorrt's `dynamo.compile` consists and not by that itself: it
leaves such nodes to PyTorch, and works on a machine with a GPU only. Weights are inputs of the engine: it is small, is
built in seconds, and all engines share the weights that the model has on the device.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from perfsuite.core.errors import DeviceMemoryError, StrategyUnavailableError
from perfsuite.strategies._engine_passes import EnginePass, Outputs, weights_of
from perfsuite.strategies._engine_toolkit import Toolkit, bridge, without_a_gpu
from perfsuite.strategies._static import layer_count

_CONVERSION_LOG = "torch_tensorrt [TensorRT Conversion Context]"
_NO_ROOM = ("out of memory", "OutOfMemory", "insufficient memory")
_SAMPLE_TOKENS = 7  # an example prompt; no dimension of a model is likely to be the same by chance
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a pair of engines is built for: rows of a batch, and positions of their cache."""

    rows: int
    length: int

    @property
    def slug(self) -> str:
        return f"b{self.rows}-c{self.length}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A serialised engine; `inputs` are its inputs' names, in the order of EnginePass.forward, flattened.

    `nodes` counts what was converted; nothing was left to PyTorch.
    """

    data: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: int


def build_prefill(model: Any, shape: Shape, toolkit: Toolkit, *, target: str | None = None) -> Plan:
    """One engine for prompts of any length from 1 to the cache's; `target` names a compute capability as RTX does.

    StrategyUnavailableError if a node cannot be converted, DeviceMemoryError if there is no room to build.
    """
    engine_pass = EnginePass(model, layer_count(model), shape.length)
    ids, positions = _prompt(model, shape.rows, _SAMPLE_TOKENS)
    tokens = torch.export.Dim("tokens", min=1, max=shape.length)
    weights = weights_of(model)
    dynamic: tuple[Any, ...] = ({1: tokens}, {1: tokens}, [], dict.fromkeys(weights))
    lowered = partial(_lowered, engine_pass, (ids, positions, [], weights), dynamic)
    return _build(lowered, shape, toolkit, target)


def build_decode(model: Any, shape: Shape, toolkit: Toolkit, *, target: str | None = None) -> Plan:
    """One engine for one more token of each row over a cache of the shape's length; errors as `build_prefill`."""
    engine_pass = EnginePass(model, layer_count(model), shape.length)
    ids, positions = _prompt(model, shape.rows, 1)
    cached = [state.new_zeros((*state.shape[:2], shape.length, state.shape[3])) for state in example(model, shape)[1:]]
    lowered = partial(_lowered, engine_pass, (ids, positions, cached, weights_of(model)), None)
    return _build(lowered, shape, toolkit, target)


@torch.no_grad()
def example(model: Any, shape: Shape) -> Outputs:
    """What a pass over one token of each row gives, computed by the model itself."""
    ids, positions = _prompt(model, shape.rows, 1)
    return EnginePass(model, layer_count(model), shape.length).forward(ids, positions, [], weights_of(model))


def _prompt(model: Any, rows: int, tokens: int) -> tuple[Tensor, Tensor]:
    ids = torch.zeros((rows, tokens), dtype=torch.int64, device=model.device)
    return ids, torch.arange(tokens, device=model.device).unsqueeze(0)


def _build(lowered: Callable[[], tuple[Any, Any]], shape: Shape, toolkit: Toolkit, target: str | None) -> Plan:
    bridge()
    with without_a_gpu(), warnings.catch_warnings(), _conversion_errors() as errors:
        warnings.simplefilter("ignore")  # advice on torch_tensorrt's own use of torch
        graph, settings = lowered()
        try:
            interpreter = _network(graph, settings, shape)
            data = _engine(interpreter, toolkit, target)
        except torch.OutOfMemoryError as error:
            raise _no_room(shape, str(error)) from error
    if data is None:
        raise _build_error(shape, errors)
    nodes = sum(node.op == "call_function" for node in graph.graph.nodes)
    names = tuple(interpreter._input_names), tuple(interpreter._output_names)
    return Plan(data=data, inputs=names[0], outputs=names[1], nodes=nodes)


def _lowered(engine_pass: EnginePass, arguments: tuple[Any, ...], dynamic: Any) -> tuple[Any, Any]:
    """The pass as a graph of operations that TensorRT may know, and torch_tensorrt's settings."""
    from torch_tensorrt import dtype
    from torch_tensorrt.dynamo._settings import CompilationSettings
    from torch_tensorrt.dynamo.lowering import get_decompositions, post_lowering, pre_export_lowering

    settings = CompilationSettings(
        enabled_precisions={dtype.f32},  # which means that each operation has the type that the model gives it
        use_explicit_typing=True,
        truncate_double=True,
        assume_dynamic_shape_support=True,
        min_block_size=1,
        pass_through_build_failures=True,
        require_full_compilation=True,
    )
    with torch.no_grad():
        program = torch.export.export(
            engine_pass.eval(),
            arguments,
            dynamic_shapes=dynamic,
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,  # guards on strides that no length breaks
        )
    program = pre_export_lowering(program, settings)
    program = program.run_decompositions(get_decompositions(False, False))
    return post_lowering(program.module(), settings), settings


def _network(graph: Any, settings: Any, shape: Shape) -> Any:
    """torch_tensorrt's interpreter, its network made; StrategyUnavailableError names what it cannot convert."""
    from torch_tensorrt.dynamo.conversion._TRTInterpreter import TRTInterpreter, UnsupportedOperatorException

    inputs = [_input(node, shape.length) for node in graph.graph.nodes if node.op == "placeholder"]
    interpreter = TRTInterpreter(graph, inputs, compilation_settings=settings)
    left = sorted(missing.rpartition(" ")[2] for missing in interpreter.validate_conversion())
    if left:
        raise StrategyUnavailableError(_left_to_pytorch(left))
    try:
        interpreter._construct_trt_network_def()
    except UnsupportedOperatorException as error:
        raise StrategyUnavailableError(_left_to_pytorch([str(error).splitlines()[0]])) from error
    return interpreter


def _left_to_pytorch(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (
        f"tensorrt: TensorRT has no counterpart for some operations of this model ({', '.join(names[:_SHOWN])}{more}), "
        "and perfsuite leaves none to PyTorch; use --perf-strategy eager or jit-cuda-graph"
    )


def _input(node: Any, longest: int) -> Any:
    """What torch_tensorrt is told about an input of the graph; what is unknown in it is a prompt's length."""
    from torch_tensorrt import Input

    value = node.meta["val"]
    if all(isinstance(size, int) for size in value.shape):
        return Input(tuple(value.shape), dtype=value.dtype, name=node.name)

    def with_tokens(tokens: int) -> tuple[int, ...]:
        return tuple(size if isinstance(size, int) else tokens for size in value.shape)

    return Input(
        min_shape=with_tokens(1),
        opt_shape=with_tokens(max(1, longest // 2)),
        max_shape=with_tokens(longest),
        dtype=value.dtype,
        name=node.name,
    )


def _engine(interpreter: Any, toolkit: Toolkit, target: str | None) -> bytes | None:
    config = interpreter._populate_trt_builder_config()
    if target is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(toolkit.runtime.ComputeCapability, target), 0)
    memory = interpreter.builder.build_serialized_network(interpreter.ctx.net, config)
    return None if memory is None else bytes(memory)


@contextmanager
def _conversion_errors() -> Iterator[list[str]]:
    """What TensorRT says while it builds, kept instead of printed: it gives no engine and tells the log why."""
    errors: list[str] = []
    handler = _Keeper(errors)
    logger = logging.getLogger(_CONVERSION_LOG)
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield errors
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


class _Keeper(logging.Handler):
    """Keeps the texts of records."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        self._texts.append(record.getMessage())


def _build_error(shape: Shape, errors: list[str]) -> Exception:
    told = errors[-1].splitlines()[0] if errors else "it did not say why"
    if is_no_room(errors):
        return _no_room(shape, told)
    return StrategyUnavailableError(
        f"tensorrt: no engine could be built for {shape.rows} rows and {shape.length} positions ({told}); use "
        "--perf-strategy eager or jit-cuda-graph"
    )


def is_no_room(complaints: list[str]) -> bool:
    """Whether TensorRT complains that a device, or the host, has no room."""
    return any(sign in complaint for complaint in complaints for sign in _NO_ROOM)


def _no_room(shape: Shape, told: str) -> DeviceMemoryError:
    return DeviceMemoryError(
        f"out of memory while building an engine for {shape.rows} rows and {shape.length} positions "
        f"({told.splitlines()[0]}); lower the batch size or the prompt and output length, or free the GPU"
    )
