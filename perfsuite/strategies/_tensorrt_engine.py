"""Owns folders that hold a built TensorRT engine: which are, what they say, and which versions still run them."""

import hashlib
import json
from typing import Any

from perfsuite.core import jsontext
from perfsuite.core.errors import ModelLoadError, OptionError
from perfsuite.core.workload import ModelFacts, ModelSpec, Workload
from perfsuite.models.handover import Handover
from perfsuite.models.presets import check_positions, folder_of

MIGRATION = "https://nvidia.github.io/TensorRT-LLM/legacy/tensorrt-backend-removal.html"


def is_built_engine(name: str) -> bool:
    """Whether a model's name is a folder of what trtllm-build or `LLM.save` wrote."""
    return any(folder_of(name).glob("rank*.engine"))


def require_engine_backend(name: str, version: str) -> Any:
    """The class that loads built engines; OptionError with the way out where this version has none any more."""
    try:
        from tensorrt_llm._tensorrt_engine import LLM
    except ImportError as error:
        raise OptionError(
            f"model {name!r}: it is a built engine, and TensorRT-LLM {version} has no engine backend any more; give "
            f"the Hugging Face model that it was built from, or install TensorRT-LLM 1.2.1 ({MIGRATION})"
        ) from error
    return LLM


def built_engine(model: ModelSpec, workloads: tuple[Workload, ...]) -> Handover:
    """What an engine's config.json says; OptionError for a longer workload or another number of GPUs than it has."""
    folder = folder_of(model.name)
    try:
        said = jsontext.loads((folder / "config.json").read_text(encoding="utf-8"))
        network, limits = said["pretrained_config"], said["build_config"]
        longest, vocabulary, dtype = int(limits["max_seq_len"]), int(network["vocab_size"]), str(network["dtype"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelLoadError(f"model {model.name!r}: its config.json is not that of an engine: {error!r}") from error
    check_positions(model.name, longest, workloads)
    gpus = int(network.get("mapping", {}).get("tp_size", 1))
    if gpus != model.engine.tensor_parallel_size:
        raise OptionError(
            f"model {model.name!r}: the engine was built for {gpus} GPUs; use --perf-tensor-parallel {gpus}"
        )
    return Handover(
        location=str(folder),
        load_format="auto",
        dtype=dtype,
        longest=longest,
        end_id=None,
        facts=ModelFacts(
            vocabulary=vocabulary,
            positions=longest,
            parameters=0,
            dtype=dtype,
            device="cuda",
            fingerprint=hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16],
        ),
    )
