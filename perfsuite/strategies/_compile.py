"""Owns the compilation of passes by torch.compile, and the proof that what ran was compiled.

It counts at the border where torch hands over a graph and where it calls what was made of it, since torch tells
nobody when it goes on uncompiled. It must not know what a pass computes, nor whether it is captured in a graph.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType, MethodType
from typing import Any

import torch
import torch._dynamo
import torch._inductor
from torch import Tensor
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
from torch._dynamo.utils import counters
from torch._inductor.exc import InvalidCxxCompiler

from perfsuite.core.errors import StrategyUnavailableError
from perfsuite.core.recording import Evidence
from perfsuite.core.workload import ModelFacts
from perfsuite.strategies._lane import Run
from perfsuite.strategies._last_position import compute_last_position_only
from perfsuite.strategies._static import Pass

Rewrite = Callable[[torch.fx.GraphModule], int]
"""Changes what Dynamo hands to a backend, in place; in how many places it did."""

_CACHE_HITS = (("inductor", "fxgraph_cache_hit"), ("aot_autograd", "autograd_cache_hit"))
_NEWER_TORCH_NOTICED = "found no compiled frames"
_STOOD_ASIDE = (
    "torch.compile ran a pass without compiling it; it may be switched off (TORCH_COMPILE_DISABLE in the "
    "environment, torch._dynamo.config.disable): switch it on, or use --perf-strategy eager"
)


def inductor_options(facts: ModelFacts, device: torch.device) -> dict[str, object]:
    """What inductor is told; for quantized weights on a GPU, to multiply one row while it reads the small numbers.

    Otherwise it makes 16-bit weights of them in memory first, and reads those.
    """
    return {"coordinate_descent_tuning": True} if facts.quantization and device.type == "cuda" else {}


class Regions:
    """Passes compiled as one region each, for every length at once; all counts are since it was made.

    `options` are inductor's; each of `rewrites` may change a traced pass. A prompt of one token, and one longer than a
    sliding window, get a variant of their own.
    """

    def __init__(self, options: Mapping[str, object] | None = None, rewrites: Iterable[Rewrite] = ()) -> None:
        self._options = dict(options or {})
        self._rewrites = (compute_last_position_only, *rewrites)
        self._rewritten = dict.fromkeys(self._rewrites, 0)
        self._compiled = 0
        self._found_in_cache = 0
        self._foreseen = 0
        self._ran = 0
        self._uncompiled_passes = 0
        self._graph_breaks = 0

    def compile(self, run: Pass) -> Pass:
        """A bound method, compiled when first called. Its first call runs it plainly before, to lay out what it keeps.

        The compiled pass raises StrategyUnavailableError where torch cannot compile it as a whole, or did not.
        """
        compiled = torch.compile(_method_with_code_of_its_own(run), backend=self._region, fullgraph=True, dynamic=False)
        is_laid_out = False

        def run_compiled(ids: Tensor) -> Tensor:
            nonlocal is_laid_out
            if not is_laid_out:
                run(ids)
                is_laid_out = True
            if ids.shape[1] > 1:
                torch._dynamo.mark_dynamic(ids, 1)
            return self._counted(compiled, ids)

        return run_compiled

    def prepare(self, run: Run, _: torch.Generator | None) -> Run:
        """The pass itself, once it has run and so is compiled."""
        with self.foreseen():
            run()
        return run

    @contextmanager
    def foreseen(self) -> Iterator[None]:
        """What is compiled in here belongs to getting ready; whatever is compiled outside is a recompilation."""
        before = self._compiled
        try:
            yield
        finally:
            self._foreseen += self._compiled - before

    @property
    def compiled(self) -> int:
        """How many regions were compiled, variants included."""
        return self._compiled

    def evidence(self) -> Evidence:
        """The counts; a pass that ran without any compiled region is a kernel fallback."""
        return Evidence(
            compiled_regions=self._compiled,
            graph_breaks=self._graph_breaks,
            recompiles=self._compiled - self._foreseen,
            kernel_fallbacks=self._uncompiled_passes,
            notes=(f"rewrites: {self._found_by_rewrites()}", f"compile cache: {self._cache_state()}"),
        )

    def _found_by_rewrites(self) -> str:
        """In how many places of a pass, the most that one had: a model that is written otherwise is slower."""
        found = self._rewritten.items()
        return ", ".join(f"{rewrite.__name__.replace('_', ' ')} {count}" for rewrite, count in found)

    def _cache_state(self) -> str:
        if not self._compiled:
            return "unused"
        if self._found_in_cache in (0, self._compiled):
            return "warm" if self._found_in_cache else "cold"
        return f"{self._found_in_cache} of {self._compiled} regions were there"

    def _counted(self, compiled: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
        before = self._ran
        try:
            result = compiled(*inputs)
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            out_of_memory = _cause(error, torch.OutOfMemoryError)
            raise out_of_memory or StrategyUnavailableError(_why_not(error)) from error
        except RuntimeError as error:
            if _NEWER_TORCH_NOTICED not in str(error):
                raise
        regions = self._ran - before
        if regions == 0:
            self._uncompiled_passes += 1
            raise StrategyUnavailableError(_STOOD_ASIDE)
        self._graph_breaks += regions - 1
        return result

    def _region(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        """The backend that torch hands a graph to: inductor, counted."""
        before = _cache_hits()
        for rewrite in self._rewrites:
            self._rewritten[rewrite] = max(self._rewritten[rewrite], rewrite(graph))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice on speed, which a caller who makes errors of warnings would die of
            run: Callable[..., Any] = torch._inductor.compile(graph, inputs, options=self._options)
        self._compiled += 1
        self._found_in_cache += _cache_hits() > before

        def counted(*inputs: Any) -> Any:
            self._ran += 1
            return run(*inputs)

        return counted


def _method_with_code_of_its_own(run: Pass) -> Pass:
    method: Any = run
    return MethodType(_with_code_of_its_own(method.__func__), method.__self__)


def _with_code_of_its_own(plain: Any) -> FunctionType:
    """The same function on a copy of its code, as torch keeps what it compiled, and how much of it, by code object.

    So the variants of one batch size neither slow down nor use up the limit of another, and go when the function goes.
    """
    code = plain.__code__.replace()
    return FunctionType(code, plain.__globals__, plain.__name__, plain.__defaults__, plain.__closure__)


def _cache_hits() -> int:
    return sum(counters[family][name] for family, name in _CACHE_HITS)


def _why_not(error: Exception) -> str:
    if isinstance(error, FailOnRecompileLimitHit):
        limit = torch._dynamo.config.recompile_limit
        return (
            f"a pass was to be compiled once more after {limit} variants, where torch stops compiling "
            "(torch._dynamo.config.recompile_limit); use --perf-strategy eager, or fewer kinds of prompt lengths"
        )
    if _cause(error, InvalidCxxCompiler):
        return (
            "torch.compile needs a C++ compiler to make code for a CPU, and finds none; install g++ "
            "(apt-get install g++), name one in the environment variable CXX, or use --perf-strategy eager"
        )
    first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return f"a pass of this model cannot be compiled as a whole ({first_line}); use --perf-strategy eager"


def _cause(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """The error of this kind that an error was raised over; torch puts what a backend raised in an attribute."""
    while error is not None and not isinstance(error, kind):
        error = getattr(error, "inner_exception", None) or error.__cause__ or error.__context__
    return error
