"""Owns the strategy that runs TensorRT-LLM through its LLM API: PyTorch backend, or a built engine while it can."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from perfsuite.core.errors import OptionError, StrategyUnavailableError
from perfsuite.core.recording import Evidence, Memory
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import ModelFacts, ModelSpec, Workload
from perfsuite.measure.gpu_memory import GpuMemory
from perfsuite.measure.standard import Borrowed
from perfsuite.measure.strategy import ALL_SAMPLING, Ability
from perfsuite.models.handover import Handover, handed_over
from perfsuite.strategies._engine import (
    borrowed,
    is_older,
    more_arguments,
    require_gpu,
    said_arguments,
    set_where_unset,
    startup_errors_told,
)
from perfsuite.strategies._tensorrt_engine import built_engine, is_built_engine, require_engine_backend

ARGUMENTS_VARIABLE = "PERFSUITE_TENSORRT_LLM_ARGS"
"""Environment variable with more arguments of tensorrt_llm.LLM, as a JSON object."""
LEAST_VERSION = "1.2"
PENALTIES_SINCE = "1.3.0rc26"
"""The default sampler took a repetition penalty and ignored it before (TensorRT-LLM issue 9442, PR 16485)."""
SETTINGS = {"TRTLLM_NO_USAGE_STATS": "1"}
NO_END = -1
"""The end id of a model that names none; no token has it."""
LEAST_TOKENS_A_STEP = 8192
BUILT = "the weights of a built engine cannot be read"


class TensorRTLLMStrategy:
    """One engine, whose workers are processes of their own; the rows of a batch are requests that are sent together."""

    name = "tensorrt-llm"
    abilities: frozenset[Ability] = (ALL_SAMPLING - {Ability.REPETITION_PENALTY}) | {
        *(Ability.BATCH, Ability.CONCURRENCY, Ability.TENSOR_PARALLEL)
    }

    def __init__(self) -> None:
        self._llm: Any = None
        self._package: Any = None
        self._handover: Handover | None = None
        self._taken: int | None = None
        self._notes: tuple[str, ...] = ()
        self._reused: int | None = None
        self._model: ModelSpec | None = None
        self._reference: Borrowed | str | None = None

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        """Import TensorRT-LLM, then start its workers, which load, tune and capture."""
        require_gpu(self.name, model)
        self._model = model
        yield "import"
        set_where_unset(SETTINGS)
        self._package = package = _import_tensorrt_llm()
        if is_built_engine(model.name) or not is_older(package.__version__, PENALTIES_SINCE):
            self.abilities = type(self).abilities | {Ability.REPETITION_PENALTY}
        memory, self._reused = GpuMemory(model.engine.tensor_parallel_size), None
        yield "build"
        with startup_errors_told("TensorRT-LLM", ARGUMENTS_VARIABLE):
            self._build(model, workloads)
        self._taken = memory.look()

    def _build(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> None:
        more = more_arguments(ARGUMENTS_VARIABLE)
        with ExitStack() as stack:
            if is_built_engine(model.name):
                make = require_engine_backend(model.name, self._package.__version__)
                self._handover = handover = built_engine(model, workloads)
                arguments = self._shared_arguments(model, handover)
            else:
                make = self._package.LLM
                self._handover = handover = stack.enter_context(handed_over(model, workloads, engine=self.name))
                arguments = {**self._shared_arguments(model, handover), **self._arguments(model, handover, workloads)}
                self._check_keywords({**arguments, **more})
            try:
                self._llm = make(**{**arguments, **more})
            except ValueError as error:
                raise OptionError(f"TensorRT-LLM {self._package.__version__}: {_first_line(error)}") from error
        self._notes = (
            f"TensorRT-LLM {self._package.__version__}",
            f"backend: {'TensorRT engine' if is_built_engine(model.name) else 'PyTorch'}",
            f"tensor parallel: {model.engine.tensor_parallel_size}",
            f"longest sequence: {handover.longest}",
            *said_arguments(more),
            *handover.notes,
        )

    def _shared_arguments(self, model: ModelSpec, handover: Handover) -> dict[str, Any]:
        """Block reuse off: repeated prompts would be answered from the cache, and a TTFT with them."""
        share = model.engine.gpu_memory_utilization
        cache = {"enable_block_reuse": False, **({} if share is None else {"free_gpu_memory_fraction": share})}
        return {
            "model": handover.location,
            "skip_tokenizer_init": True,
            "tensor_parallel_size": model.engine.tensor_parallel_size,
            "kv_cache_config": self._package.llmapi.KvCacheConfig(**cache),
        }

    def _arguments(self, model: ModelSpec, handover: Handover, workloads: tuple[Workload, ...]) -> dict[str, Any]:
        rows = sorted({workload.batch_size for workload in workloads} or {1})
        graphs = getattr(self._package.llmapi, "CudaGraphConfig", None)
        longest = handover.longest
        return {
            "dtype": handover.dtype,
            "load_format": handover.load_format,
            "revision": model.revision,
            "trust_remote_code": model.trust_remote_code,
            "stream_interval": 1,
            "max_batch_size": rows[-1],
            **({"cuda_graph_config": graphs(batch_sizes=rows)} if graphs else {}),
            **(
                {"max_seq_len": longest, "max_num_tokens": max(LEAST_TOKENS_A_STEP, longest * rows[-1])}
                if longest
                else {}
            ),
        }

    def _check_keywords(self, arguments: Mapping[str, Any]) -> None:
        """OptionError if the installed version does not know one, before it has started anything."""
        args = getattr(self._package.llmapi, "TorchLlmArgs", None)
        known = set(getattr(args, "model_fields", {}))
        unknown = sorted(set(arguments) - known) if known else []
        if unknown:
            raise OptionError(f"TensorRT-LLM {self._package.__version__} does not take {', '.join(unknown)}")

    def stream(self, request: Request) -> Iterator[Chunk]:
        """The new ids of every step, row by row; with a batch a step has arrived when its slowest row has."""
        llm = self._open_llm
        results = [
            llm.generate_async(list(ids), self._params(request, row), streaming=True)
            for row, ids in enumerate(request.prompts)
        ]
        running = dict(enumerate(results))
        try:
            while running:
                for row, result in list(running.items()):
                    step = next(result, None)
                    if step is None:
                        del running[row]
                        self._note_reuse(result)
                    else:
                        yield from _chunks(step, row)
        finally:
            for result in running.values():
                result.abort()

    def _note_reuse(self, result: Any) -> None:
        metrics = getattr(result.outputs[0], "request_perf_metrics", None)
        if metrics is not None:
            self._reused = (self._reused or 0) + bool(metrics.kv_cache_metrics.num_reused_blocks)

    def _params(self, request: Request, row: int) -> Any:
        """One to one, but for what is off, which is left out; a top-k of 1 is greedy in every version."""
        sampling = request.sampling
        end_id = self._handover.end_id if self._handover else None
        drawn = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **({"top_k": sampling.top_k} if sampling.top_k else {}),
            "seed": request.seed_of(row),
        }
        penalty = {"repetition_penalty": sampling.repetition_penalty} if sampling.repetition_penalty != 1 else {}
        return self._package.SamplingParams(
            max_tokens=request.output_tokens,
            end_id=NO_END if end_id is None else end_id,
            pad_id=NO_END if end_id is None else end_id,
            ignore_eos=request.ignore_eos,
            detokenize=False,
            return_perf_metrics=True,
            **({"top_k": 1} if sampling.is_greedy else drawn),
            **penalty,
        )

    @property
    def _open_llm(self) -> Any:
        if self._llm is None:
            raise RuntimeError("the strategy is not open")
        return self._llm

    def facts(self) -> ModelFacts:
        if self._handover is None:
            raise RuntimeError("the strategy is not open")
        return self._handover.facts

    def reference(self) -> Borrowed | str:
        """Eager on the same weights, if they are in a folder and small enough; a built engine's cannot be read."""
        if self._reference is None and self._model is not None:
            is_built = is_built_engine(self._model.name)
            self._reference = BUILT if is_built else borrowed(self._model, self.facts().dtype)
        return self._reference or "it is not open"

    def memory(self) -> Memory:
        """What the GPUs held more once it was open, by their driver: weights, graphs, and all of the cache laid out."""
        return Memory(peak_reserved=self._taken)

    def evidence(self) -> Evidence:
        """That the engine was built; requests that reused blocks of the cache, `None` if it does not tell."""
        return Evidence(engines=int(self._llm is not None), cached_prefix_hits=self._reused, notes=self._notes)

    def close(self) -> None:
        """End the workers, which gives their memory back; may be called twice."""
        if self._llm is not None:
            self._llm.shutdown()
        self._llm = self._handover = self._reference = None
        gc.collect()


def _chunks(step: Any, row: int) -> Iterator[Chunk]:
    completion = step.outputs[0]
    ids, reason = tuple(completion.token_ids_diff), completion.finish_reason
    if ids or reason:
        yield Chunk(token_ids=ids, row=row, finish_reason=reason)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _import_tensorrt_llm() -> Any:
    try:
        import tensorrt_llm
        import tensorrt_llm.llmapi
    except ImportError as error:
        raise StrategyUnavailableError(
            f"strategy 'tensorrt-llm' needs TensorRT-LLM ({error}); install it as its guide says: "
            "https://nvidia.github.io/TensorRT-LLM/installation/linux.html"
        ) from error
    if is_older(tensorrt_llm.__version__, LEAST_VERSION):
        raise StrategyUnavailableError(
            f"strategy 'tensorrt-llm' needs TensorRT-LLM {LEAST_VERSION} or above, found {tensorrt_llm.__version__}"
        )
    return tensorrt_llm
