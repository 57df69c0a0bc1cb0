"""Owns the canaries that run where an in-process strategy runs: a small frozen model, and the same as one CUDA graph.

They share no code with any strategy. What they compute never changes: core/canary.py names them.
"""

import torch
from torch import Tensor
from torch.nn import functional

from perfsuite.core.canary import Canary

WIDTH, HIDDEN = 256, 768
LAYERS_ON_CPU, ROWS_ON_CPU = 4, 100
LAYERS_ON_GPU, ROWS_ON_GPU = 40, 16
DISTINCT_LAYERS = 4
SEED = 0
NS_PER_EVENT_UNIT = 1_000_000  # torch.cuda.Event.elapsed_time gives milliseconds

Canaries = tuple["ForwardCanary | GraphCanary", ...]


def canaries_on(device: torch.device) -> Canaries:
    """The canaries of a device: on a CPU the model alone, on a GPU its captured form as well."""
    model = _Model(device)
    if device.type != "cuda":
        return (ForwardCanary(model),)
    return (ForwardCanary(model), GraphCanary(model))


class _Model:
    """Feed-forward layers with residual connections, about five kernels each; 40 of them launch as a model does."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        on_gpu = device.type == "cuda"
        self._layers = LAYERS_ON_GPU if on_gpu else LAYERS_ON_CPU
        generator = torch.Generator().manual_seed(SEED)
        self._weights = [
            (_drawn(generator, device, HIDDEN, WIDTH), _drawn(generator, device, WIDTH, HIDDEN))
            for _ in range(DISTINCT_LAYERS)
        ]
        self._input = _drawn(generator, device, ROWS_ON_GPU if on_gpu else ROWS_ON_CPU, WIDTH)

    def forward(self) -> Tensor:
        """One pass, launched but not waited for."""
        with torch.inference_mode():
            state = self._input
            for index in range(self._layers):
                up, down = self._weights[index % DISTINCT_LAYERS]
                hidden = functional.silu(functional.linear(state, up))
                state = functional.layer_norm(state + functional.linear(hidden, down), (WIDTH,))
            return state


def _drawn(generator: torch.Generator, device: torch.device, rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns, generator=generator).mul_(0.02).to(device)


class ForwardCanary:
    """The model launched kernel by kernel: what binds an eager forward."""

    canary = Canary.FORWARD

    def __init__(self, model: _Model) -> None:
        self._model = model

    def run(self) -> None:
        self._model.forward()
        if self._model.device.type == "cuda":
            torch.cuda.synchronize(self._model.device)

    def device_ns(self) -> None:
        return None


class GraphCanary:
    """The model as one CUDA graph: one launch, then the device alone, which times itself."""

    canary = Canary.GRAPH

    def __init__(self, model: _Model) -> None:
        self._device = model.device
        self._graph = torch.cuda.CUDAGraph()
        self._start, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        aside = torch.cuda.Stream(model.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(model.device))
        with torch.cuda.stream(aside):
            for _ in range(3):
                model.forward()
        torch.cuda.current_stream(model.device).wait_stream(aside)
        # "thread_local": the watchdog of a process group may ask for its events meanwhile, in a thread of its own.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._output = model.forward()

    def run(self) -> None:
        stream = torch.cuda.current_stream(self._device)
        self._start.record(stream)
        self._graph.replay()
        self._end.record(stream)
        torch.cuda.synchronize(self._device)

    def device_ns(self) -> int:
        duration_ms: float = self._start.elapsed_time(self._end)
        return round(duration_ms * NS_PER_EVENT_UNIT)
