"""Owns a model as it is handed to an engine that loads it itself: a folder or id, its dtype, what is known of it."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers

from perfsuite.core.workload import ModelFacts, ModelSpec, Workload
from perfsuite.disk import cache_folder, write_whole
from perfsuite.models.configuration import location, read_config
from perfsuite.models.fingerprint import fingerprint
from perfsuite.models.load import dtype_of, is_dummy
from perfsuite.models.presets import check_positions, packaged_weights, positions_in, preset
from perfsuite.models.tokenizer import tokenizer_notes

STEP = 64
"""The longest sequence that an engine makes room for is rounded up to a multiple of this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """`location` is a folder or a Hugging Face id, `load_format` 'auto' or 'dummy', `longest` a number of positions.

    `facts` are those that config.json tells; how many parameters an engine makes of it, it keeps to itself (0).
    `end_id` ends a sequence; `None` if the config names no such id. `notes` say in what the tokenizer beside the model
    does not fit it.
    """

    location: str
    load_format: str
    dtype: str
    longest: int | None
    end_id: int | None
    facts: ModelFacts
    notes: tuple[str, ...] = ()


@contextmanager
def handed_over(spec: ModelSpec, workloads: tuple[Workload, ...], *, engine: str) -> Iterator[Handover]:
    """The model for as long as the engine loads it; a preset that is a shape only becomes a folder with a config.json.

    Such a folder lies among the user's caches and stays, if it can be written there, else it is temporary.

    OptionError if a workload is longer than the model, ModelLoadError for what is no model, or has another's tokenizer.
    """
    config = read_config(spec)
    positions = positions_in(config.get_text_config().to_dict())
    longest = _longest(spec, positions, workloads)
    check_positions(spec.name, longest, workloads)
    notes = tokenizer_notes(spec, config.get_text_config().vocab_size, _end_ids(config))
    dtype = str(dtype_of(spec, config, torch.device("cuda"))).removeprefix("torch.")
    with tempfile.TemporaryDirectory(prefix="perfsuite-model-") as spare:
        yield Handover(
            location=_written(config, Path(spare)) if _is_shape(spec) else location(spec),
            load_format="dummy" if is_dummy(spec) else "auto",
            dtype=dtype,
            longest=longest,
            end_id=next(iter(_end_ids(config)), None),
            notes=notes,
            facts=_facts(spec, config, dtype, positions=positions, engine=engine),
        )


def _longest(spec: ModelSpec, positions: int | None, workloads: tuple[Workload, ...]) -> int | None:
    """What was asked for, else the longest workload rounded up, else what the model has."""
    asked = spec.engine.max_model_len
    needed = max((workload.total_tokens for workload in workloads), default=None)
    wanted = asked or (None if needed is None else -(-needed // STEP) * STEP)
    return min((each for each in (wanted, positions) if each is not None), default=None)


def _is_shape(spec: ModelSpec) -> bool:
    return preset(spec.name) is not None and packaged_weights(replace(spec, load_format="auto")) is None


def _written(config: Any, spare: Path) -> str:
    """A folder with nothing but a config.json that names the class of the model, as engines want it.

    Its name depends on nothing else: vLLM keeps what it compiled by a model's path, and finds it again by that.
    """
    names: Any = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    values = {**config.to_dict(), "architectures": [names[config.model_type]]}
    text = json.dumps(values, default=str, sort_keys=True)
    try:
        return str(_put(text, cache_folder("models") / hashlib.sha256(text.encode()).hexdigest()[:12]))
    except (OSError, RuntimeError):  # a home that cannot be written, or none at all
        return str(_put(text, spare))


def _put(text: str, folder: Path) -> Path:
    """The folder, with this config.json; one that is there is left alone, as another session may read it meanwhile."""
    path = folder / "config.json"
    if not path.is_file() or path.read_bytes() != text.encode():
        write_whole(path, text)
    return folder


def _end_ids(config: Any) -> tuple[int, ...]:
    found = config.get_text_config().eos_token_id
    return tuple(found) if isinstance(found, (list, tuple)) else () if found is None else (found,)


def _facts(spec: ModelSpec, config: Any, dtype: str, *, positions: int | None, engine: str) -> ModelFacts:
    text = config.get_text_config()
    return ModelFacts(
        vocabulary=text.vocab_size,
        positions=positions,
        parameters=0,
        dtype=dtype,
        device="cuda",
        layers=getattr(text, "num_hidden_layers", None),
        fingerprint=fingerprint(
            spec,
            commit=getattr(config, "_commit_hash", None),
            weights=f"dummy of {engine}" if is_dummy(spec) else None,
        ),
    )
