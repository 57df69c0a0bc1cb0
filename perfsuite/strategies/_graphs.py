"""Owns the capture of passes in CUDA graphs: warm-up, memory shared by all of them, and the count of their replays."""

from collections.abc import Callable
from functools import cache
from weakref import WeakSet

import torch

from perfsuite.core.errors import StrategyUnavailableError

_WARM_UPS = 2  # the first lays out buffers and picks kernels, the second shows the steady state to the allocator


@cache
def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all captures on a device, as the libraries keep a workspace for every stream that they ever saw."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class GraphPool:
    """Graphs that take their intermediate results from the same memory: right, as they run one after the other.

    `captured` and `replayed` count since the pool was made.
    """

    def __init__(self, device: torch.device) -> None:
        self.captured = 0
        self.replayed = 0
        self._stream = _capture_stream(device)
        self._alive: WeakSet[torch.cuda.CUDAGraph] = WeakSet()
        self._memory = torch.cuda.graph_pool_handle()

    def capture(self, run: Callable[[], None], generator: torch.Generator | None) -> Callable[[], None]:
        """What replays a pass. The pass runs before, so whatever it leaves behind must not matter.

        Draws from a generator go on from where it is at each replay. StrategyUnavailableError if the pass asks the
        device for a value; torch.OutOfMemoryError as it comes.
        """
        self._warm_up(run)
        graph = self._captured(run, generator)
        self._alive.add(graph)
        self.captured += 1

        def replay() -> None:
            graph.replay()
            self.replayed += 1

        return replay

    def release(self) -> None:
        """Destroy all graphs, whoever still holds what replays them: from then on that raises RuntimeError.

        NCCL (2.26 and later) lets go of no communicator, aborted or not, as long as a graph is there that sums by it.
        """
        for graph in list(self._alive):
            graph.reset()

    def _warm_up(self, run: Callable[[], None]) -> None:
        """On the stream of the capture, so that the libraries' workspaces of that stream are there before it."""
        outside = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UPS):
                run()
        outside.wait_stream(self._stream)

    def _captured(self, run: Callable[[], None], generator: torch.Generator | None) -> torch.cuda.CUDAGraph:
        if not self._alive:  # memory whose last graph is gone cannot be shared any more
            self._memory = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        try:
            self._record(graph, run, generator)
        except RuntimeError as error:
            # Ending a broken capture raises an error of its own, over the one that broke it.
            first = error.__context__ if isinstance(error.__context__, RuntimeError) else error
            if "captur" in str(first) and not isinstance(first, torch.OutOfMemoryError):
                raise StrategyUnavailableError(
                    "a pass of this model cannot be captured in a CUDA graph, as it waits for the device "
                    f"({str(first).splitlines()[0]}); use --perf-strategy eager"
                ) from error
            if first is not error:
                raise first from error
            raise
        return graph

    @torch.inference_mode(mode=False)  # what a capture lays out for generators must be writable in any mode
    @torch.no_grad()
    def _record(self, graph: torch.cuda.CUDAGraph, run: Callable[[], None], generator: torch.Generator | None) -> None:
        if generator is not None:
            graph.register_generator_state(generator)
        # The outer context gives the caller's stream back even if ending the capture fails. "thread_local": what
        # other threads do on the device meanwhile is not this capture's business.
        with (
            torch.cuda.stream(self._stream),
            torch.cuda.graph(graph, pool=self._memory, stream=self._stream, capture_error_mode="thread_local"),
        ):
            run()
