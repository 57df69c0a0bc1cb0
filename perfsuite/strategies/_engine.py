"""Owns what strategies that hand the model to an engine share: whether it can run here, and what its errors mean."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from packaging.version import Version

from perfsuite.core.errors import DeviceMemoryError, OptionError, PerfsuiteError, StrategyUnavailableError
from perfsuite.core.workload import ModelSpec
from perfsuite.measure.environment import has_gpu
from perfsuite.measure.fault import device_fault
from perfsuite.measure.standard import Borrowed
from perfsuite.models.reference import saved_weights

OUT_OF_MEMORY = (
    "out of memory",
    "insufficient gpu memory",
    "no available memory for the cache blocks",
    "less than desired gpu memory utilization",
    "kv cache is needed, which is larger than the available",
)
"""Words by which vLLM, TensorRT-LLM and CUDA say that there is no room."""
_VALIDATION = re.compile(r"\d+ validation errors? for (\w+)")
"""How pydantic begins, by which both engines check what they are given; why it is refused comes in the next lines."""


def require_gpu(strategy: str, model: ModelSpec) -> None:
    """StrategyUnavailableError without a GPU, OptionError for a device that an engine does not take."""
    if model.device.startswith("cuda:"):
        index = model.device.partition(":")[2]
        raise OptionError(
            f"--perf-device: strategy {strategy!r} takes the first GPUs that it sees, not {model.device!r}; use "
            f"CUDA_VISIBLE_DEVICES={index} and --perf-device cuda"
        )
    if model.device == "cpu" or not has_gpu():
        raise StrategyUnavailableError(
            f"strategy {strategy!r} needs a GPU; use --perf-device cuda, and check nvidia-smi"
        )


def more_arguments(variable: str) -> Mapping[str, Any]:
    """Arguments for the engine from an environment variable that holds a JSON object; none if it is not set."""
    text = os.environ.get(variable, "").strip()
    try:
        values = json.loads(text or "{}")
    except ValueError as error:
        raise OptionError(f"{variable}: {text!r} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise OptionError(f'{variable}: {text!r} is not a JSON object; write {{"argument": value}}')
    return values


def said_arguments(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The note of a recording whose engine was given more arguments; it must agree with the baseline's."""
    return (f"engine arguments: {json.dumps(arguments, sort_keys=True)}",) if arguments else ()


def set_where_unset(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Put into the environment what it does not say; the names of that."""
    new = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(new)
    return tuple(new)


def is_older(version: str, least: str) -> bool:
    """Whether a version of a package comes before another one; '1.3.0rc5' comes before '1.3.0'."""
    return Version(version) < Version(least)


def borrowed(model: ModelSpec, dtype: str) -> Borrowed | str:
    """What the draws of an engine that shows no logits are held against; why there is nothing, in words."""
    found = saved_weights(model, dtype)
    return found if isinstance(found, str) else Borrowed(reference=found)


@contextmanager
def startup_errors_told(engine: str, variable: str) -> Iterator[None]:
    """What keeps an engine from starting, in one line with its own words and what to do.

    What it refuses is an OptionError where `variable` gives it more arguments, which may be what it refuses.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, PerfsuiteError) or device_fault(error):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        if any(phrase in str(error).lower() for phrase in OUT_OF_MEMORY):
            words = _short(lines[0])
            raise DeviceMemoryError(
                f"{engine} has no room: {words}; lower --perf-gpu-memory-utilization or --perf-max-model-len, or free "
                "the GPU"
            ) from error
        refused = _VALIDATION.fullmatch(lines[0]) if len(lines) > 1 else None
        if refused:
            said = f"{engine} does not take this model or these options ({refused[1]}): {_reason(lines[1:])}"
            if more_arguments(variable):
                raise OptionError(f"{said}; correct {variable}, or take it away") from error
            raise StrategyUnavailableError(f"{said}; give others, or use --perf-strategy eager") from error
        raise


def _reason(lines: list[str]) -> str:
    """What pydantic says of the first thing it refuses: perhaps the name of a field, then the reason."""
    said = [line.partition(" [type=")[0] for line in lines[:2] if not line.startswith("For further information")]
    return _short(" ".join(said).removeprefix("Value error, "))


def _short(words: str) -> str:
    return words[:200].rstrip(". ")
