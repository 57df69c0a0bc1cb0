"""Owns what is asked of a model: sampling parameters, the workload and the model itself."""

import math
import re
from dataclasses import dataclass, field, fields

from perfsuite.core.codec import ADDED_LATER
from perfsuite.core.engine import EngineOptions
from perfsuite.core.errors import OptionError
from perfsuite.core.work import ModelWork

DTYPES = ("auto", "float32", "float16", "bfloat16")
LOAD_FORMATS = ("auto", "dummy")
QUANTIZATIONS = ("int8", "fp8")

_SAMPLING_SHORT = {
    "temperature": "temperature",
    "top_k": "topk",
    "top_p": "topp",
    "repetition_penalty": "penalty",
    "seed": "drawseed",
}
_DTYPE_SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def _require(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise OptionError(f"{name}: {value!r} is not allowed; it must be {allowed}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the next token is drawn; the defaults change nothing (plain sampling from the model's distribution).

    Applied in the order repetition penalty, temperature, top-k, top-p, by the definitions of transformers.
    `temperature` 0 or `top_k` 1 is greedy; `top_k` 0 and `top_p` 1 are off.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        _require("temperature", self.temperature, 0 <= self.temperature < math.inf, "0 (greedy) or above")
        _require("top_k", self.top_k, self.top_k >= 0, "0 (off) or above")
        _require("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1 (off)")
        _require(
            "repetition_penalty", self.repetition_penalty, 0 < self.repetition_penalty < math.inf, "above 0 (1 is off)"
        )
        _require("seed", self.seed, self.seed >= 0, "0 or above")

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0 or self.top_k == 1


DEFAULT_SAMPLING = SamplingParams(temperature=0.7, top_k=50, top_p=0.9, repetition_penalty=1.1)
"""What a run samples with unless told otherwise: every option in use, so that its cost is in the numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One kind of request: how many tokens go in and come out, for how many sequences at a time.

    `seed` draws the prompts: the same seed gives the same prompts in every session.
    """

    prompt_tokens: int
    output_tokens: int = 32
    batch_size: int = 1
    sampling: SamplingParams = DEFAULT_SAMPLING
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("prompt_tokens", "output_tokens", "batch_size"):
            value = getattr(self, name)
            _require(name, value, type(value) is int and value >= 1, "a whole number, 1 or above")
        _require("seed", self.seed, self.seed >= 0, "0 or above")

    @property
    def total_tokens(self) -> int:
        """Positions one sequence takes in the cache."""
        return self.prompt_tokens + self.output_tokens

    @property
    def slug(self) -> str:
        """'p100-o32', then whatever differs from the default: '-b4', '-greedy' or '-temperature0.9', '-seed7'."""
        batch = [f"b{self.batch_size}"] if self.batch_size > 1 else []
        seed = [f"seed{self.seed}"] if self.seed else []
        return "-".join([f"p{self.prompt_tokens}-o{self.output_tokens}", *batch, *_sampling_slug(self.sampling), *seed])


def _sampling_slug(params: SamplingParams) -> list[str]:
    if params.is_greedy and params.repetition_penalty == 1:
        return ["greedy"]
    changed = [f.name for f in fields(params) if getattr(params, f.name) != getattr(DEFAULT_SAMPLING, f.name)]
    return [f"{_SAMPLING_SHORT[name]}{getattr(params, name):g}" for name in changed]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Which model to load and how: a preset, a Hugging Face id or a local folder.

    `quantization` is that of the weights alone, what is computed is computed in `dtype`; `None` is none. `engine` is
    for strategies that hand the model to an engine, or ask an endpoint for it.
    """

    name: str
    revision: str | None = None
    dtype: str = "auto"
    quantization: str | None = None
    load_format: str = "auto"
    trust_remote_code: bool = False
    device: str = "auto"
    engine: EngineOptions = field(default=EngineOptions(), metadata={ADDED_LATER: True})

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise OptionError("model: the name is empty; give a preset, a Hugging Face id or a folder")
        _require("dtype", self.dtype, self.dtype in DTYPES, f"one of {', '.join(DTYPES)}")
        _require("load format", self.load_format, self.load_format in LOAD_FORMATS, f"one of {', '.join(LOAD_FORMATS)}")
        quantized = self.quantization is None or self.quantization in QUANTIZATIONS
        _require("quantization", self.quantization, quantized, f"one of {', '.join(QUANTIZATIONS)}")
        known = self.device in ("auto", "cpu") or re.fullmatch(r"cuda(:\d+)?", self.device) is not None
        _require("device", self.device, known, "one of auto, cpu, cuda, cuda:N")

    @property
    def slug(self) -> str:
        """A file name for it: 'tiny', 'meta-llama--Llama-2-7b-hf', 'llama-2-7b-bf16', 'my-model-dummy'."""
        path = self.name.rstrip("/")
        base = path.rsplit("/", 1)[-1] if _looks_like_path(self.name) else path.replace("/", "--")
        loaded = "dummy" if self.load_format == "dummy" else ""
        parts = [base, self.revision or "", _DTYPE_SHORT.get(self.dtype, ""), self.quantization or "", loaded]
        named = "-".join(filter(None, parts))
        return re.sub(r"[^A-Za-z0-9._-]+", "-", named).lstrip(".") or "model"


def _looks_like_path(name: str) -> bool:
    return name.startswith(("/", "./", "../", "~"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a loaded model turned out to be.

    `vocabulary` is the number of token ids prompts are drawn from, `positions` the longest sequence (`None`: no
    limit known), `parameters` a count, `fingerprint` a digest of architecture and weights' origin. `work` is what a
    pass has to read and to compute; `None` where that is not known (an endpoint, a mixture of experts). `layers` is how
    many transformer layers the ids pass (`None`: not known), by which rounding adds up. `quantization` says how and by
    what weights were quantized; `None` if they were not. `ranks` is over how many devices it is split, of
    which `device` is the first.
    """

    vocabulary: int
    positions: int | None
    parameters: int
    dtype: str
    device: str
    fingerprint: str
    work: ModelWork | None = None
    layers: int | None = None
    quantization: str | None = None
    eos_token_ids: tuple[int, ...] | None = None
    ranks: int = 1
