"""Owns the strategy that runs vLLM's engine in this process: its own step loop, token ids in and out."""

import gc
import os
from collections.abc import Iterator
from itertools import count
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

ARGUMENTS_VARIABLE = "PERFSUITE_VLLM_ARGS"
"""Environment variable with more of vLLM's EngineArgs, as a JSON object."""
LEAST_VERSION = "0.25"
SETTINGS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"}
"""The engine steps in this process, so that a token is seen as soon as it is on the host; an environment that says
otherwise is heeded."""
SETTINGS_IN_FLOAT32 = {"TRITON_F32_DEFAULT": "ieee"}
"""Attention is Triton's then, which multiplies float32 as TF32 unless it is told: no more digits than float16 has."""
SEQUENCES_BY_DEFAULT = 256
"""Every GPU gets as many by `LLM`'s own defaults, a large one 1024. Fewer than this are never asked for: up to twice as
many tokens a pass, at most 512, are captured in CUDA graphs, so with one sequence no prompt would run in a graph."""
DRAINING_STEPS = 4


class VllmStrategy:
    """One engine; the rows of a batch are requests that are added together."""

    name = "vllm"
    abilities = ALL_SAMPLING | {Ability.BATCH, Ability.CONCURRENCY, Ability.TENSOR_PARALLEL}

    def __init__(self) -> None:
        self._engine: Any = None
        self._vllm: Any = None
        self._handover: Handover | None = None
        self._taken: int | None = None
        self._notes: tuple[str, ...] = ()
        self._cached_prompts = 0
        self._captured_before = 0
        self._set_here: tuple[str, ...] = ()
        self._numbers = count()
        self._model: ModelSpec | None = None
        self._reference: Borrowed | str | None = None

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        """Import vLLM, then build its engine, which loads, compiles and captures."""
        require_gpu(self.name, model)
        self._model = model
        yield "import"
        set_where_unset(SETTINGS)
        self._vllm = _import_vllm()
        memory, self._cached_prompts = GpuMemory(model.engine.tensor_parallel_size), 0
        yield "build"
        handing_over = handed_over(model, workloads, engine=self.name)
        with startup_errors_told("vLLM", ARGUMENTS_VARIABLE), handing_over as handover:
            self._handover, self._captured_before = handover, _captured_so_far()
            self._build(model, handover, max((workload.batch_size for workload in workloads), default=1))
        self._taken = memory.look()

    def _build(self, model: ModelSpec, handover: Handover, rows: int) -> None:
        self._set_here = set_where_unset(SETTINGS_IN_FLOAT32 if handover.dtype == "float32" else {})
        options, more = model.engine, more_arguments(ARGUMENTS_VARIABLE)
        share = options.gpu_memory_utilization
        arguments: dict[str, Any] = {
            "model": handover.location,
            "load_format": handover.load_format,
            "dtype": handover.dtype,
            "revision": model.revision,
            "trust_remote_code": model.trust_remote_code,
            "skip_tokenizer_init": True,
            "generation_config": "vllm",
            "enable_prefix_caching": False,
            "stream_interval": 1,
            "disable_log_stats": True,
            "seed": 0,
            "tensor_parallel_size": options.tensor_parallel_size,
            **({"max_num_seqs": rows} if rows > SEQUENCES_BY_DEFAULT else {}),
            **({} if handover.longest is None else {"max_model_len": handover.longest}),
            **({} if share is None else {"gpu_memory_utilization": share}),
        }
        try:
            engine_arguments = self._vllm.EngineArgs(**{**arguments, **more})
        except TypeError as error:
            raise OptionError(f"vLLM {self._vllm.__version__} does not take these arguments: {error}") from error
        self._engine = _engine_as_of_llm(self._vllm, engine_arguments)
        self._notes = (
            f"vLLM {self._vllm.__version__}",
            f"CUDA graphs: {_graphs_of(self._engine)}",
            f"tensor parallel: {options.tensor_parallel_size}",
            f"longest sequence: {handover.longest}",
            *said_arguments(more),
            *handover.notes,
        )

    def stream(self, request: Request) -> Iterator[Chunk]:
        """Step the engine until every row has ended; each step's new ids as soon as it hands them over."""
        engine = self.engine
        rows = {f"perfsuite-{next(self._numbers)}": row for row in range(len(request.prompts))}
        running = set(rows)
        try:
            for name, row in rows.items():
                engine.add_request(name, {"prompt_token_ids": list(request.prompts[row])}, self.params_of(request, row))
            while running:
                for output in engine.step():
                    if output.finished:
                        running.discard(output.request_id)
                    yield from self._chunks(output, rows[output.request_id])
        except (
            GeneratorExit,
            ValueError,
        ):  # nobody listens any more, or a prompt was refused; other errors are its end
            self._abandon(sorted(running))
            raise

    def _chunks(self, output: Any, row: int) -> Iterator[Chunk]:
        (completion,) = output.outputs
        self._cached_prompts += bool(output.finished and output.num_cached_tokens)
        if completion.token_ids or completion.finish_reason:
            yield Chunk(token_ids=tuple(completion.token_ids), row=row, finish_reason=completion.finish_reason)

    def _abandon(self, names: list[str]) -> None:
        """End these requests, and step over what was under way, so that the next one finds an idle engine."""
        self.engine.abort_request(names)
        for _ in range(DRAINING_STEPS):
            self.engine.step()

    def params_of(self, request: Request, row: int) -> Any:
        """What vLLM is asked for a row's prompt, one to one; vLLM names it as perfsuite does.

        Only new ids are handed over, and no text is made of them.
        """
        from vllm.sampling_params import RequestOutputKind

        sampling = request.sampling
        return self._vllm.SamplingParams(
            max_tokens=request.output_tokens,
            ignore_eos=request.ignore_eos,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            repetition_penalty=sampling.repetition_penalty,
            seed=request.seed_of(row),
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )

    @property
    def engine(self) -> Any:
        """The engine itself, for as long as this is open."""
        if self._engine is None:
            raise RuntimeError("the strategy is not open")
        return self._engine

    def facts(self) -> ModelFacts:
        if self._handover is None:
            raise RuntimeError("the strategy is not open")
        return self._handover.facts

    def reference(self) -> Borrowed | str:
        """Eager on the same weights, if they are in a folder and small enough."""
        if self._reference is None and self._model is not None:
            self._reference = borrowed(self._model, self.facts().dtype)
        return self._reference or "it is not open"

    def memory(self) -> Memory:
        """What the GPUs held more once it was open, by their driver: weights, graphs, and all of the cache laid out."""
        return Memory(peak_reserved=self._taken)

    def evidence(self) -> Evidence:
        """That the engine was built, captured graphs if it is to, and answered no prompt from a cached prefix."""
        is_counted = self._engine is not None and _captures_here(self._engine)
        return Evidence(
            engines=int(self._engine is not None),
            graphs_captured=_captured_so_far() - self._captured_before if is_counted else None,
            cached_prefix_hits=self._cached_prompts,
            notes=self._notes,
        )

    def close(self) -> None:
        """Shut the engine down and give its memory back; may be called twice."""
        for name in self._set_here:
            os.environ.pop(name, None)
        self._set_here = ()
        if self._engine is not None:
            from vllm.distributed import cleanup_dist_env_and_memory

            self._engine.engine_core.shutdown()
            self._engine = None
            gc.collect()
            cleanup_dist_env_and_memory()
        self._handover = self._reference = None


def _engine_as_of_llm(vllm: Any, arguments: Any) -> Any:
    """An engine with the defaults of vLLM's class `LLM`, those that its users and its benchmarks have."""
    from vllm.usage.usage_lib import UsageContext

    return vllm.LLMEngine.from_engine_args(arguments, usage_context=UsageContext.LLM_CLASS)


def _graphs_of(engine: Any) -> str:
    """'FULL_AND_PIECEWISE, up to 512 tokens', as vLLM's configuration has it once the engine is built, or 'NONE'."""
    compilation = engine.vllm_config.compilation_config
    mode = compilation.cudagraph_mode.name
    return mode if mode == "NONE" else f"{mode}, up to {compilation.max_cudagraph_capture_size} tokens"


def _captures_here(engine: Any) -> bool:
    """Whether this process captures graphs: not where none are wanted, or where other processes do."""
    config = engine.vllm_config
    is_here = hasattr(engine, "model_executor") and config.parallel_config.world_size == 1
    return is_here and config.compilation_config.cudagraph_mode.name != "NONE"


def _captured_so_far() -> int:
    """Graphs that all engines of this process have captured, by vLLM's own count."""
    from vllm.compilation.counter import compilation_counter

    return int(compilation_counter.num_cudagraph_captured)


def _import_vllm() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise StrategyUnavailableError(
            f"strategy 'vllm' needs vLLM ({error}); install it with: pip install 'perfsuite[vllm]'"
        ) from error
    if is_older(vllm.__version__, LEAST_VERSION):
        raise StrategyUnavailableError(
            f"strategy 'vllm' needs vLLM {LEAST_VERSION} or above, found {vllm.__version__}; "
            "pip install 'perfsuite[vllm]'"
        )
    return vllm
