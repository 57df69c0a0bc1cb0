"""Owns how a ModelSpec becomes a model on its device: dummy weights drawn there, real weights read.

It imports torch and transformers; only what runs a model imports it.
"""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from perfsuite.core.errors import DeviceMemoryError, ModelLoadError, StrategyUnavailableError
from perfsuite.core.units import format_bytes
from perfsuite.core.workload import ModelFacts, ModelSpec, Workload
from perfsuite.measure.fault import device_fault
from perfsuite.models.configuration import CONFIG_ERRORS, load_error, location, read_config
from perfsuite.models.device import find_device, free_bytes, is_out_of_memory
from perfsuite.models.fingerprint import fingerprint
from perfsuite.models.presets import check_positions, packaged_weights, positions_in, preset
from perfsuite.models.quantization import quantize, require_quantization
from perfsuite.models.ranks import ALONE, Seat
from perfsuite.models.split import require_split, split, split_of
from perfsuite.models.storage import bytes_of
from perfsuite.models.tokenizer import tokenizer_notes
from perfsuite.models.work import work_of

DUMMY_SEED = 0

_AutoModel: Any = transformers.AutoModelForCausalLM  # typed too loosely to be of use
_logging: Any = transformers.utils.logging

_WEIGHT_ERRORS = (*CONFIG_ERRORS, RuntimeError, SafetensorError, pickle.UnpicklingError, EOFError)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A causal language model in eval mode on its device, and what it turned out to be.

    `model` takes ids [B, L] and gives `.logits`; `notes` say in what the tokenizer beside it does not fit.
    """

    model: Any
    facts: ModelFacts
    notes: tuple[str, ...] = ()

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """What ends a sequence; nothing if there are none."""
        return self.facts.eos_token_ids or ()

    @property
    def device(self) -> torch.device:
        return torch.device(self.facts.device)

    @property
    def weight_bytes(self) -> int:
        """Bytes that all parameters really take, tied ones once."""
        return bytes_of(self.model.parameters())


def require_parallel(spec: ModelSpec, size: int) -> None:
    """StrategyUnavailableError if a model cannot be split over `size` ranks, before any of its weights is touched."""
    if spec.quantization:
        raise StrategyUnavailableError(
            "--perf-quantization: quantized weights are not split over GPUs; drop it, or --perf-tensor-parallel"
        )
    with _quiet_transformers():
        config = read_config(spec)
        with _errors_told(spec, config, torch.float32, torch.device("meta")):
            require_split(spec.name, _draw(spec, config, torch.float32, torch.device("meta")), size)


def load(spec: ModelSpec, workloads: tuple[Workload, ...] = (), seat: Seat = ALONE) -> LoadedModel:
    """The model that `spec` names, ready to run; OptionError before its weights are touched if a workload is too long.

    One of several ranks keeps its part alone: of weights that are read, before they come to the device; drawn ones are
    drawn in full, so that they are the same as on one device. The facts are those of the whole model.

    Presets without weights of their own, and any model with load format 'dummy', get weights drawn from a fixed seed
    directly on the device; weights are quantized there, once all of them are. Raises ModelLoadError for what cannot be
    loaded, DeviceMemoryError for what does not fit, OptionError for a device that is not there and
    StrategyUnavailableError for a quantization that cannot be done.
    """
    device = find_device(spec.device)
    if spec.quantization:
        require_quantization(spec.quantization, device)
    with _quiet_transformers():
        config = read_config(spec)
        check_positions(spec.name, _positions(config), workloads)
        dtype = dtype_of(spec, config, device)
        with _errors_told(spec, config, dtype, device):
            model = _draw(spec, config, dtype, device) if is_dummy(spec) else _read(spec, config, dtype)
            model.eval().requires_grad_(False)
            facts = _facts(spec, model, dtype, device)
            if seat.size > 1:
                facts = _of_ranks(facts, model, dtype, seat)
                split(model, seat)
            model.to(device)
            if spec.quantization:
                quantization = quantize(model, spec.quantization)
                facts = replace(facts, quantization=quantization, work=work_of(model, dtype))
    with _quiet_transformers():
        notes = tokenizer_notes(spec, facts.vocabulary, facts.eos_token_ids or ())
    return LoadedModel(model=model, facts=facts, notes=notes)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Neither progress bars nor load reports: what matters in them becomes an error here."""
    verbosity, had_bars = _logging.get_verbosity(), _logging.is_progress_bar_enabled()
    _logging.set_verbosity_error()
    _logging.disable_progress_bar()
    try:
        yield
    finally:
        _logging.set_verbosity(verbosity)
        if had_bars:
            _logging.enable_progress_bar()


def dtype_of(spec: ModelSpec, config: Any, device: torch.device) -> torch.dtype:
    """What was asked for; by default float32 on a CPU, on a GPU bfloat16 if config.json says so, else float16."""
    if spec.dtype != "auto":
        named: torch.dtype = getattr(torch, spec.dtype)
        return named
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if config.dtype == torch.bfloat16 else torch.float16


@contextmanager
def _errors_told(spec: ModelSpec, config: Any, dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """What goes wrong on the way of the weights to the device, in one line that says what to do."""
    free = free_bytes(device) or 0
    try:
        yield
    except _WEIGHT_ERRORS as error:
        if is_out_of_memory(error):
            raise DeviceMemoryError(
                f"model {spec.name!r}: {device} is out of memory: the weights take {_size(spec, config, dtype)}, "
                f"{format_bytes(free)} were free; free the GPU, use --perf-dtype float16 or a smaller model"
            ) from error
        if device_fault(error):
            raise
        raise load_error(spec, error) from error


def is_dummy(spec: ModelSpec) -> bool:
    return spec.load_format == "dummy" or (preset(spec.name) is not None and packaged_weights(spec) is None)


def _draw(spec: ModelSpec, config: Any, dtype: torch.dtype, device: torch.device) -> Any:
    """Weights by the architecture's own initialisation (N(0, initializer_range), norms 1), and its own buffers."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device:
        torch.manual_seed(DUMMY_SEED)
        return _AutoModel.from_config(config, dtype=dtype, trust_remote_code=spec.trust_remote_code)


def _read(spec: ModelSpec, config: Any, dtype: torch.dtype) -> Any:
    model, report = _AutoModel.from_pretrained(
        location(spec),
        config=config,
        revision=spec.revision or "main",
        dtype=dtype,
        trust_remote_code=spec.trust_remote_code,
        output_loading_info=True,
    )
    missing = sorted(report["missing_keys"])
    if missing:  # transformers would run them with random values
        raise ModelLoadError(
            f"model {spec.name!r}: the checkpoint lacks {len(missing)} of its weights, the first is {missing[0]!r}; "
            "download it again, or draw random weights with --perf-load-format dummy"
        )
    return model


def _size(spec: ModelSpec, config: Any, dtype: torch.dtype) -> str:
    model = _draw(spec, config, dtype, torch.device("meta"))
    return format_bytes(sum(parameter.numel() for parameter in model.parameters()) * dtype.itemsize)


def _facts(spec: ModelSpec, model: Any, dtype: torch.dtype, device: torch.device) -> ModelFacts:
    text = model.config.get_text_config()
    return ModelFacts(
        vocabulary=min(text.vocab_size, model.get_input_embeddings().weight.shape[0]),
        positions=_positions(model.config),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=str(dtype).removeprefix("torch."),
        device=str(device),
        layers=getattr(text, "num_hidden_layers", None),
        fingerprint=fingerprint(
            spec,
            commit=getattr(model.config, "_commit_hash", None),
            weights=f"dummy seed {DUMMY_SEED}" if is_dummy(spec) else None,
        ),
        work=work_of(model, dtype),
        eos_token_ids=_eos_token_ids(model),
    )


def _of_ranks(facts: ModelFacts, model: Any, dtype: torch.dtype, seat: Seat) -> ModelFacts:
    """The facts of a whole model that is going to be split."""
    work = facts.work
    shared = replace(work, split=split_of(model, seat.size, dtype)) if work else None
    return replace(facts, ranks=seat.size, work=shared)


def _positions(config: Any) -> int | None:
    return positions_in(config.get_text_config().to_dict())


def _eos_token_ids(model: Any) -> tuple[int, ...]:
    generation = getattr(model, "generation_config", None)
    found = getattr(generation, "eos_token_id", None)
    if found is None:
        found = model.config.get_text_config().eos_token_id
    return () if found is None else (found,) if isinstance(found, int) else tuple(found)
