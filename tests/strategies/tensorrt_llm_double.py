"""A double of what TensorRT-LLM's LLM API promises, of 1.2.1 and of 1.4.0rc1: strict keywords, its words on errors.

What is promised, and where it was read: docs/engines.md. Nothing here computes; tokens are drawn from the seed.
"""

import random
import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

COMMON = {
    "model", "tokenizer", "tokenizer_mode", "skip_tokenizer_init", "trust_remote_code", "tensor_parallel_size", "dtype",
    "revision", "kv_cache_config", "load_format", "max_batch_size", "max_num_tokens", "max_seq_len", "stream_interval",
    "cuda_graph_config", "attn_backend", "backend", "return_perf_metrics", "disable_overlap_scheduler",
}  # fmt: skip
ENGINE_ONLY = {"build_config", "quant_config", "fast_build", "enable_build_cache", "workspace"}
SAMPLING = {
    "max_tokens": 32, "temperature": None, "top_k": None, "top_p": None, "repetition_penalty": None, "seed": None,
    "end_id": None, "pad_id": None, "ignore_eos": False, "detokenize": True, "return_perf_metrics": False,
}  # fmt: skip
NO_TOKENIZER = (
    "tokenizer is required to reset end_id if it is None, or you can explicitly specify the end_id for sampling_params"
)


class RequestError(RuntimeError):
    """What a request ends with that a worker refused."""


class SamplingParams:
    def __init__(self, **values):
        unknown = sorted(set(values) - set(SAMPLING))
        if unknown:
            raise TypeError(f"SamplingParams.__init__() got an unexpected keyword argument {unknown[0]!r}")
        self.__dict__.update({**SAMPLING, **values})

    @property
    def is_greedy(self):
        """The rule of 1.2 and later."""
        nothing = self.temperature is None and self.top_p is None and self.top_k is None
        return nothing or self.top_k == 1 or self.top_p == 0 or self.temperature == 0


def any_tokens(ids, params):
    """Drawn from the request's seed; nothing computes."""
    draw = random.Random(str((ids, params.seed, params.is_greedy)))  # noqa: S311 - tokens, no secrets
    return [draw.randrange(258) for _ in range(params.max_tokens)]


@dataclass
class Config:
    """KvCacheConfig and CudaGraphConfig: what they were given."""

    values: dict


def config(name, *known):
    """A strict config class."""

    def make(**values):
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"1 validation error for {name}\n{unknown[0]}\n  Extra inputs are not permitted")
        return Config(values)

    return make


@dataclass
class CompletionOutput:
    token_ids: list = field(default_factory=list)
    finish_reason: str | None = None
    request_perf_metrics: object = None
    _last_token_ids_len: int = 0

    @property
    def token_ids_diff(self):
        return self.token_ids[self._last_token_ids_len :]


class RequestOutput:
    """Yields itself after each response, when iterated; the ids of all responses so far stay in it."""

    def __init__(self, llm, ids, params):
        self._left = llm.draw(ids, params)
        self._llm, self._params = llm, params
        self.outputs, self.finished, self.is_aborted = [CompletionOutput()], False, False

    def __iter__(self):
        return self

    def __next__(self):
        if self.finished:
            raise StopIteration
        self._llm.responses += 1
        if self._llm.responses in self._llm.ends:
            raise self._llm.ends[self._llm.responses]
        (output,) = self.outputs
        output._last_token_ids_len = len(output.token_ids)
        count = self._llm.bundle
        output.token_ids += self._left[:count]
        self._left = self._left[count:]
        if not self._left:
            self.finished, output.finish_reason = True, "length"
            if self._params.return_perf_metrics and self._llm.has_metrics:
                blocks = SimpleNamespace(num_reused_blocks=self._llm.reused)
                output.request_perf_metrics = SimpleNamespace(kv_cache_metrics=blocks)
        return self

    def abort(self):
        self.is_aborted = True
        self._llm.aborted += 1


class LLM:
    """`draw` may give the tokens of a request, of its prompt and parameters."""

    known = frozenset(COMMON)
    draw = staticmethod(any_tokens)

    def __init__(self, model, **values):
        engine_only = sorted(set(values) & ENGINE_ONLY)
        if engine_only and self.known == COMMON:
            raise ValueError(
                "The following arguments are specific to TensorRT backend and cannot be used with PyTorch backend: "
                f"{engine_only}.\nPlease use 'from tensorrt_llm._tensorrt_engine import LLM' instead."
            )
        unknown = sorted(set(values) - self.known)
        if unknown:
            raise ValueError(f"LLM got invalid argument: {unknown[0]}")
        if self.startup_error is not None:
            raise self.startup_error
        self.values = {"model": model, **values}
        self.asked, self.responses, self.aborted, self.shutdowns = [], 0, 0, 0
        self.built.append(self)

    def generate_async(self, inputs, sampling_params=None, *, streaming=False):
        assert streaming
        if sampling_params.end_id is None and self.values["skip_tokenizer_init"]:
            raise ValueError(NO_TOKENIZER)
        self.asked.append((inputs, sampling_params))
        return RequestOutput(self, inputs, sampling_params)

    def shutdown(self):
        self.shutdowns += 1


def install(monkeypatch, version="1.2.1", *, has_engine_backend=True, lacking=frozenset()):
    """Have `import tensorrt_llm` find the double; its LLM class, to be told how it behaves."""
    behaviour = {
        "built": [], "ends": {}, "startup_error": None, "bundle": 1, "reused": 0, "has_metrics": True,
        "known": frozenset(COMMON - lacking),
    }  # fmt: skip
    llm = type("LLM", (LLM,), behaviour)
    package, llmapi = ModuleType("tensorrt_llm"), ModuleType("tensorrt_llm.llmapi")
    llmapi.KvCacheConfig = config("KvCacheConfig", "enable_block_reuse", "free_gpu_memory_fraction", "max_tokens")
    llmapi.CudaGraphConfig = config("CudaGraphConfig", "batch_sizes", "max_batch_size", "enable_padding")
    llmapi.TorchLlmArgs = SimpleNamespace(model_fields=dict.fromkeys(llm.known))
    package.__dict__.update(__version__=version, LLM=llm, SamplingParams=SamplingParams, llmapi=llmapi)
    monkeypatch.setitem(sys.modules, "tensorrt_llm", package)
    monkeypatch.setitem(sys.modules, "tensorrt_llm.llmapi", llmapi)
    engine = None
    if has_engine_backend:
        engine = ModuleType("tensorrt_llm._tensorrt_engine")
        engine.LLM = type("EngineLLM", (llm,), {"known": frozenset(COMMON | ENGINE_ONLY)})
    monkeypatch.setitem(sys.modules, "tensorrt_llm._tensorrt_engine", engine)
    return llm
