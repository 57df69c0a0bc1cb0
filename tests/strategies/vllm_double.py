"""A double of what vLLM 0.25.1 promises: strict keywords, its own words on errors, steps that may bring nothing.

Read in its source (docs/engines.md names the files); nothing here computes, tokens are drawn from the request's seed.
"""

import random
import sys
from collections import deque
from dataclasses import dataclass
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import ClassVar

ENGINE_ARGS = {
    "model", "tokenizer", "skip_tokenizer_init", "trust_remote_code", "load_format", "dtype", "seed", "max_model_len",
    "tensor_parallel_size", "enable_prefix_caching", "gpu_memory_utilization", "max_num_batched_tokens", "max_num_seqs",
    "disable_log_stats", "revision", "enforce_eager", "compilation_config", "kernel_config", "generation_config",
    "async_scheduling", "stream_interval",
}  # fmt: skip
SAMPLING = {
    "max_tokens": 16, "ignore_eos": False, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0,
    "seed": None, "detokenize": True, "output_kind": None, "min_tokens": 0, "stop_token_ids": None,
}  # fmt: skip


class RequestOutputKind(Enum):
    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


class UsageContext(str, Enum):
    LLM_CLASS = "LLM_CLASS"
    ENGINE_CONTEXT = "ENGINE_CONTEXT"


class CUDAGraphMode(Enum):
    NONE = 0
    FULL_AND_PIECEWISE = (2, 1)


class EngineArgs:
    def __init__(self, **values):
        unknown = sorted(set(values) - ENGINE_ARGS)
        if unknown:
            raise TypeError(f"EngineArgs.__init__() got an unexpected keyword argument {unknown[0]!r}")
        self.values = values


class SamplingParams:
    def __init__(self, **values):
        unknown = sorted(set(values) - set(SAMPLING))
        if unknown:
            raise TypeError(f"Unexpected keyword argument {unknown[0]!r}")
        self.__dict__.update({**SAMPLING, **values})
        if self.top_k < -1:
            raise ValueError(f"top_k must be 0 (disable), or at least 1, got {self.top_k}.")
        if not 0 <= self.temperature <= 2:
            raise ValueError(f"temperature must be in [0, 2], got {self.temperature}.")


@dataclass
class CompletionOutput:
    token_ids: list
    finish_reason: str | None = None
    index: int = 0


@dataclass
class RequestOutput:
    request_id: str
    outputs: list
    finished: bool
    num_cached_tokens: int | None = 0


def any_tokens(ids, params):
    """Drawn from the request's seed; nothing computes."""
    draw = random.Random(str((ids, params.seed, params.temperature)))  # noqa: S311 - tokens, no secrets
    return [draw.randrange(258) for _ in range(params.max_tokens)]


def config_of(values, usage_context):
    """Sequences and captured sizes as `_set_cudagraph_sizes` of vllm/config/vllm.py has them, for an H100."""
    sequences = values.get("max_num_seqs") or {UsageContext.LLM_CLASS: 1024}.get(usage_context, 128)
    mode = CUDAGraphMode.NONE if values.get("enforce_eager") else CUDAGraphMode.FULL_AND_PIECEWISE
    return SimpleNamespace(
        compilation_config=SimpleNamespace(cudagraph_mode=mode, max_cudagraph_capture_size=min(2 * sequences, 512)),
        parallel_config=SimpleNamespace(world_size=values.get("tensor_parallel_size", 1)),
        model_config=SimpleNamespace(model=values["model"]),
    )


class Core:
    def __init__(self):
        self.is_shut_down = False

    def shutdown(self, timeout=None):
        self.is_shut_down = True


class LLMEngine:
    """`ends` are errors to raise at a step, by its number; `cached` is how many prompt tokens a cache had.

    `draw` may give the tokens of a request, of its prompt and parameters. `graphs` is how many it captures.
    """

    built: ClassVar[list] = []
    startup_error: ClassVar[Exception | None] = None
    ends: ClassVar[dict] = {}
    cached = 0
    bundle = 1
    graphs = 102
    draw = staticmethod(any_tokens)

    def __init__(self, values, usage_context=UsageContext.ENGINE_CONTEXT):
        self.values, self.engine_core, self.vllm_config = values, Core(), config_of(values, usage_context)
        self.model_executor = object()  # as where the engine steps in this process
        self.running: dict = {}
        self.asked: list = []
        self.aborted: list = []
        self.steps = 0
        self._is_queued = False
        if self.vllm_config.compilation_config.cudagraph_mode is not CUDAGraphMode.NONE:
            sys.modules["vllm.compilation.counter"].compilation_counter.num_cudagraph_captured += self.graphs
        LLMEngine.built.append(self)

    @classmethod
    def from_engine_args(cls, engine_args, usage_context=UsageContext.ENGINE_CONTEXT):
        if cls.startup_error is not None:
            raise cls.startup_error
        return cls(engine_args.values, usage_context)

    def add_request(self, request_id, prompt, params):
        if not isinstance(request_id, str):
            raise TypeError(f"request_id must be a string, got {type(request_id)}")
        ids, longest = prompt["prompt_token_ids"], self.values.get("max_model_len", 1024)
        if not ids:
            raise ValueError("The decoder prompt cannot be empty")
        if len(ids) >= longest:
            raise ValueError(
                f"The decoder prompt (length {len(ids)}) is longer than the maximum model length of {longest}."
            )
        self.asked.append((ids, params))
        self.running[request_id] = (deque(self.draw(ids, params)), params)
        return f"{request_id}-internal"

    def has_unfinished_requests(self):
        return bool(self.running)

    def abort_request(self, request_ids, internal=False):
        self.aborted += request_ids
        for request_id in request_ids:
            self.running.pop(request_id, None)

    def step(self):
        """With asynchronous scheduling the step that fills the queue brings nothing."""
        self.steps += 1
        if self.steps in self.ends:
            raise self.ends[self.steps]
        if self.running and not self._is_queued:
            self._is_queued = True
            return []
        outputs = [self._advance(request_id) for request_id in list(self.running)]
        self._is_queued = bool(self.running)
        return [output for output in outputs if output is not None]

    def _advance(self, request_id):
        left, params = self.running[request_id]
        assert params.output_kind in {RequestOutputKind.DELTA, RequestOutputKind.FINAL_ONLY}
        new = [left.popleft() for _ in range(min(self.bundle, len(left)))]
        if not left:
            del self.running[request_id]
        elif params.output_kind is RequestOutputKind.FINAL_ONLY:
            return None
        reason = None if left else "length"
        return RequestOutput(request_id, [CompletionOutput(new, reason)], not left, self.cached)


class LLM:
    """As entrypoints/llm.py has it: around the engine that `from_engine_args` gives; it waits for whole answers."""

    def __init__(self, model, **more):
        arguments = EngineArgs(model=model, **more)
        self.llm_engine = sys.modules["vllm"].LLMEngine.from_engine_args(
            engine_args=arguments, usage_context=UsageContext.LLM_CLASS
        )
        self._count = 0

    def generate(self, prompts, sampling_params=None, *, use_tqdm=True):
        for prompt in prompts:
            sampling_params.output_kind = RequestOutputKind.FINAL_ONLY
            self.llm_engine.add_request(str(self._count), prompt, sampling_params)
            self._count += 1
        outputs = []
        while self.llm_engine.has_unfinished_requests():
            outputs += [output for output in self.llm_engine.step() if output.finished]
        return outputs


MODULES = (
    "vllm", "vllm.sampling_params", "vllm.distributed", "vllm.usage", "vllm.usage.usage_lib", "vllm.compilation",
    "vllm.compilation.counter",
)  # fmt: skip


def install(monkeypatch, version="0.25.1"):
    """Have `import vllm` find the double; the engine class, to be told how it behaves."""
    for setting in ("TRITON_F32_DEFAULT", "VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_NO_USAGE_STATS"):
        monkeypatch.setenv(setting, "")  # so that it is put back, whoever sets it
        monkeypatch.delenv(setting)
    engine = type("LLMEngine", (LLMEngine,), {"built": [], "ends": {}, "startup_error": None})
    LLMEngine.built = engine.built
    modules = {name: ModuleType(name) for name in MODULES}
    modules["vllm"].__dict__.update(
        __version__=version, EngineArgs=EngineArgs, LLM=LLM, LLMEngine=engine, SamplingParams=SamplingParams
    )
    modules["vllm.sampling_params"].RequestOutputKind = RequestOutputKind
    modules["vllm.usage.usage_lib"].UsageContext = UsageContext
    modules["vllm.compilation.counter"].compilation_counter = SimpleNamespace(num_cudagraph_captured=0)
    cleaned = []
    modules["vllm.distributed"].cleanup_dist_env_and_memory = lambda: cleaned.append(True)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    engine.cleaned = cleaned
    return engine
