"""Owns what is known of OpenAI-compatible servers: by what they are told apart, and what each one is asked.

Sources: docs/endpoints.md. What a server is not known to take is not sent, and its effect not claimed.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from perfsuite.core.sample import Request
from perfsuite.measure.strategy import ALL_SAMPLING, Ability

Body = dict[str, Any]
Extend = Callable[[Request], Body]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A kind of server: what it is asked beyond OpenAI's own fields, what of the sampling that makes it apply.

    `takes_ids` is `None` where it has to be tried; `lists_all` says that a model it does not list is not there.
    """

    name: str
    extend: Extend
    abilities: frozenset[Ability]
    takes_ids: bool | None = True
    lists_all: bool = True


def body(server: Server, request: Request, *, model: str, prompt: str | list[int], is_chat: bool, row: int = 0) -> Body:
    """The JSON of one streaming request with the prompt of a row."""
    sampling = request.sampling
    asked: Body = {"messages": [{"role": "user", "content": prompt}]} if is_chat else {"prompt": prompt}
    return {
        "model": model,
        **asked,
        "max_tokens": request.output_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0 if sampling.is_greedy else sampling.temperature,
        "top_p": sampling.top_p,
        "seed": request.seed_of(row),
        **server.extend(request),
    }


def _plain(_: Request) -> Body:
    return {}


def _engine(top_k_off: int, **more: Any) -> Extend:
    """The fields that vLLM named and others took over."""

    def extend(request: Request) -> Body:
        sampling = request.sampling
        return {
            "top_k": sampling.top_k or top_k_off,
            "repetition_penalty": sampling.repetition_penalty,
            "ignore_eos": request.ignore_eos,
            **more,
        }

    return extend


def _transformers(request: Request) -> Body:
    """`transformers serve` takes what generate() takes, as JSON within the JSON; it does so instead of the defaults."""
    sampling = request.sampling
    drawn = {"top_k": sampling.top_k, "top_p": sampling.top_p, "temperature": sampling.temperature}
    config = {
        "do_sample": not sampling.is_greedy,
        "repetition_penalty": sampling.repetition_penalty,
        "max_new_tokens": request.output_tokens,
        **({"min_new_tokens": request.output_tokens} if request.ignore_eos else {}),
        **({} if sampling.is_greedy else drawn),
    }
    return {"generation_config": json.dumps(config)}


_COUNTED = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
_OPENAI = frozenset({Ability.TEMPERATURE, Ability.TOP_P})

_SGLANG = ALL_SAMPLING - {Ability.SEED}  # honoured only where it was started for deterministic inference
_TENSORRT_LLM = ALL_SAMPLING - {Ability.REPETITION_PENALTY}  # taken and ignored before 1.3.0rc26

UNKNOWN = Server(name="unknown", extend=_plain, abilities=_OPENAI, takes_ids=None, lists_all=False)
TRANSFORMERS = Server(
    name="transformers serve", extend=_transformers, abilities=ALL_SAMPLING, takes_ids=False, lists_all=False
)
BY_OWNER: Mapping[str, Server] = MappingProxyType(
    {
        "vllm": Server(name="vLLM", extend=_engine(-1, return_token_ids=True), abilities=ALL_SAMPLING),
        "sglang": Server(name="SGLang", extend=_engine(-1, **_COUNTED), abilities=_SGLANG),
        "tensorrt_llm": Server(name="TensorRT-LLM", extend=_engine(0, **_COUNTED), abilities=_TENSORRT_LLM),
    }
)
"""By what stands under `owned_by` in the server's list of models."""
TRANSFORMERS_PATHS = frozenset({"/load_model", "/reset", "/v1/completions"})
"""What `transformers serve` says in /openapi.json that it answers."""


def recognized(models: object, openapi: object) -> Server:
    """The kind of server that lists these models; `openapi` is what it says of its own paths, if it does."""
    owners = [str(entry.get("owned_by")) for entry in entries(models)]
    found = next((BY_OWNER[owner] for owner in owners if owner in BY_OWNER), None)
    if found is not None:
        return found
    paths = openapi.get("paths") if isinstance(openapi, Mapping) else None
    return TRANSFORMERS if isinstance(paths, Mapping) and set(paths) >= TRANSFORMERS_PATHS else UNKNOWN


def entries(models: object) -> list[Mapping[str, Any]]:
    """The models that a server lists; none if it says something else."""
    data = models.get("data") if isinstance(models, Mapping) else None
    return [entry for entry in data if isinstance(entry, Mapping)] if isinstance(data, list) else []
