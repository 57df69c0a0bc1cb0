"""Owns the life of a model that runs in this process: loading, streaming, memory, and giving all of it back.

A strategy extends it, and hands it the Step that makes the strategy what it is.
"""

import gc
from collections.abc import Iterator

import torch

from perfsuite.core.errors import DeviceMemoryError, OptionError
from perfsuite.core.recording import Memory
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.units import format_bytes
from perfsuite.core.workload import ModelFacts, ModelSpec, Workload
from perfsuite.measure.strategy import Alphabet
from perfsuite.models.alphabets import alphabet_of
from perfsuite.models.device import find_device, free_bytes, is_out_of_memory
from perfsuite.models.load import LoadedModel, load
from perfsuite.models.presets import check_positions, positions_of
from perfsuite.strategies._canary import Canaries, canaries_on
from perfsuite.strategies._decode import Decoder, Step
from perfsuite.strategies._gauges import Gauges, gauges_on


class InProcess:
    """`load`, then `start` with a step, then any number of requests, then `close`; and again."""

    def __init__(self) -> None:
        self._spec: ModelSpec | None = None
        self._loaded: LoadedModel | None = None
        self._decoder: Decoder | None = None
        self._peaks = (0, 0)

    @property
    def loaded(self) -> LoadedModel:
        if self._loaded is None:
            raise RuntimeError("the strategy is not open")
        return self._loaded

    @property
    def decoder(self) -> Decoder:
        if self._decoder is None:
            raise RuntimeError("the strategy is not open")
        return self._decoder

    def load(self, spec: ModelSpec, workloads: tuple[Workload, ...]) -> LoadedModel:
        """The model on its device; OptionError before any weights are read if a workload is longer than it can hold."""
        check_positions(spec.name, positions_of(spec.name), workloads)
        device = find_device(spec.device)
        self._peaks = (0, 0)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self._spec, self._loaded = spec, load(spec, workloads)
        if device.type == "cuda":
            if spec.quantization:  # what runs is smaller than what was loaded, and the peaks are of what runs
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats(device)
            torch.cuda.synchronize(device)  # drawn weights are there, so that loading is not timed as the first call
        return self._loaded

    def start(self, step: Step) -> None:
        """Stream through `step` from now on."""
        self._decoder = Decoder(step, self.loaded.device, self.loaded.eos_token_ids)

    def stream(self, request: Request) -> Iterator[Chunk]:
        """The decoder's chunks; DeviceMemoryError with the sizes if the device has no room for them.

        OptionError for more tokens than the model has positions: a GPU would be lost to an index beyond its tables.
        """
        self.check_length(request)
        try:
            yield from self.decoder.stream(request)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise DeviceMemoryError(self._out_of_memory(request)) from error

    def check_length(self, request: Request) -> None:
        """OptionError for more tokens than the model has positions."""
        positions = self.facts().positions
        if positions is not None and len(request.prompts[0]) + request.output_tokens > positions:
            raise OptionError(_too_long(request, positions))

    def _out_of_memory(self, request: Request) -> str:
        loaded, rows, tokens = self.loaded, len(request.prompts), len(request.prompts[0])
        smaller = "use --perf-dtype float16, " if loaded.facts.dtype == "float32" else ""
        work = loaded.facts.work
        cache = work.cache_bytes(rows=rows, past=tokens + request.output_tokens) if work else 0
        return (
            f"{loaded.device} is out of memory on a batch of {rows} with {tokens} prompt and {request.output_tokens} "
            f"output tokens: the weights take {format_bytes(loaded.weight_bytes)}, their cache {format_bytes(cache)}, "
            f"{format_bytes(free_bytes(loaded.device) or 0)} are free; lower the batch size or the prompt length, "
            f"{smaller}or free the GPU"
        )

    def facts(self) -> ModelFacts:
        return self.loaded.facts

    def alphabet(self) -> Alphabet | None:
        """What the model's ids stand for; `None` where nobody knows."""
        return alphabet_of(self._spec) if self._spec else None

    def notes(self) -> tuple[str, ...]:
        """Choices that matter to the numbers: attention, dtype, quantization, a tokenizer that does not fit."""
        facts, attention = self.loaded.facts, getattr(self.loaded.model.config, "_attn_implementation", None)
        quantized = (f"quantization: {facts.quantization}",) if facts.quantization else ()
        return (f"attention: {attention}", f"dtype: {facts.dtype}", *quantized, *self.loaded.notes)

    def memory(self) -> Memory:
        """Bytes of the weights, and on a GPU the allocator's peaks since loading began (ended, if quantized)."""
        device, weights = self.loaded.device, self.loaded.weight_bytes
        if device.type != "cuda":
            return Memory(weights=weights)
        allocated, reserved = self._peaks_so_far(device)
        return Memory(weights=weights, peak_allocated=allocated, peak_reserved=reserved)

    def begin_peak(self) -> None:
        """Count the allocator's peak anew; the session's own is kept."""
        if self.loaded.device.type == "cuda":
            self._peaks = self._peaks_so_far(self.loaded.device)
            torch.cuda.reset_peak_memory_stats(self.loaded.device)

    def peak_bytes(self) -> int | None:
        """The most bytes allocated since `begin_peak`; `None` without a GPU."""
        device = self.loaded.device
        return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None

    def _peaks_so_far(self, device: torch.device) -> tuple[int, int]:
        """The most bytes allocated and reserved since loading, whatever was counted anew in between."""
        allocated, reserved = self._peaks
        return (
            max(allocated, torch.cuda.max_memory_allocated(device)),
            max(reserved, torch.cuda.max_memory_reserved(device)),
        )

    def device_ns(self) -> tuple[int, ...] | None:
        return self.decoder.device_ns()

    def canaries(self) -> Canaries:
        """Perfsuite's own fixed workloads on the model's device."""
        return canaries_on(self.loaded.device)

    def gauges(self) -> Gauges:
        """What shows the limits of the device for this model's weights and dtype; none if its work is unknown."""
        facts, device = self.facts(), self.loaded.device
        return gauges_on(device, getattr(torch, facts.dtype), facts.work.weight_bytes) if facts.work else iter(())

    def slow_device(self, fraction: float) -> None:
        """Make every step longer on the device by a fraction of its own time; OptionError without a GPU."""
        self.decoder.slow_device(fraction)

    def close(self) -> None:
        """Let go of the model and give the device's memory back; the strategy must drop its own references first."""
        self._loaded = self._decoder = None
        gc.collect()
        torch.cuda.empty_cache()


def _too_long(request: Request, positions: int) -> str:
    tokens, output = len(request.prompts[0]), request.output_tokens
    return (
        f"{tokens} prompt and {output} output tokens take {tokens + output} positions, the model has {positions}; "
        "shorten the prompt or the output"
    )
