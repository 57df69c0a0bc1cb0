"""Owns the life of a model that runs in this process: loading, streaming, memory, and giving all of it back.

A strategy extends it, and hands it the Step that makes the strategy what it is.
"""

import gc
from collections.abc import Iterator
from dataclasses import replace

import torch

from perfsuite.core.errors import DeviceMemoryError, OptionError
from perfsuite.core.recording import Memory
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.units import format_bytes
from perfsuite.core.workload import ModelFacts, ModelSpec, Workload
from perfsuite.measure.environment import host_peak_bytes
from perfsuite.measure.strategy import Alphabet
from perfsuite.models.alphabets import alphabet_of
from perfsuite.models.device import find_device, free_bytes, is_out_of_memory
from perfsuite.models.load import LoadedModel, load
from perfsuite.models.presets import check_positions, positions_of
from perfsuite.strategies._canary import Canaries, canaries_on
from perfsuite.strategies._decode import Decoder, Step
from perfsuite.strategies._gauges import Gauges, Link, gauges_on
from perfsuite.strategies._of_ranks import OfRanks, on_every_rank, summed, total


class InProcess(OfRanks):
    """`load`, then, with `all_ranks_ready`, `start` with a step, then any number of requests, then `close`; and again.

    Of a model that is split over several GPUs this is the rank that answers, or one of those that follow it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._spec: ModelSpec | None = None
        self._loaded: LoadedModel | None = None
        self._decoder: Decoder | None = None
        self._link: Link | None = None
        self._peaks = (0, 0)
        self._device_before: int | None = None

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
        """The model on its device, or this rank's part of it.

        OptionError before any weights are read if a workload is longer than it can hold, or ranks lack GPUs.
        """
        check_positions(spec.name, positions_of(spec.name), workloads)
        device = find_device(spec.device)
        self._peaks = (0, 0)
        if device.type == "cuda":  # Triton launches its kernels on the current device, wherever their tensors are
            self._device_before = torch.cuda.current_device()
            torch.cuda.set_device(device)
        self.join_ranks(spec, workloads, device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self._spec, self._loaded = spec, load(spec, workloads, self.seat)
        if device.type == "cuda":
            if spec.quantization or self.seat.size > 1:  # what runs is smaller than what was loaded; the peaks are its
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
        yield from self.stream_on_all_ranks(request, self._stream)

    def _stream(self, request: Request) -> Iterator[Chunk]:
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
        cache = work.cache_bytes(rows=rows, past=tokens + request.output_tokens) // work.ranks if work else 0
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
        return (
            f"attention: {attention}",
            f"dtype: {facts.dtype}",
            *quantized,
            *self.told_of_ranks(self.loaded.device),
            *self.loaded.notes,
        )

    def memory(self) -> Memory:
        """Bytes of the weights, and on a GPU the allocator's peaks since loading began (ended, if quantized or split).

        Of several ranks the sum; nothing once one of them is gone.
        """
        return Memory() if self.is_broken else summed(self.on_all_ranks(InProcess.own_memory))

    def own_memory(self) -> Memory:
        """The same of this rank alone; the host's memory of one that follows, which nobody else sees."""
        memory = self._device_memory()
        return replace(memory, host_peak=host_peak_bytes()) if self.seat.rank else memory

    def _device_memory(self) -> Memory:
        device, weights = self.loaded.device, self.loaded.weight_bytes
        if device.type != "cuda":
            return Memory(weights=weights)
        allocated, reserved = self._peaks_so_far(device)
        return Memory(weights=weights, peak_allocated=allocated, peak_reserved=reserved)

    @on_every_rank
    def begin_peak(self) -> None:
        """Count the allocator's peak anew; the session's own is kept."""
        if self.loaded.device.type == "cuda":
            self._peaks = self._peaks_so_far(self.loaded.device)
            torch.cuda.reset_peak_memory_stats(self.loaded.device)

    def peak_bytes(self) -> int | None:
        """The most bytes allocated since `begin_peak`, on all ranks; `None` without a GPU."""
        return total(self.on_all_ranks(InProcess.own_peak_bytes))

    def own_peak_bytes(self) -> int | None:
        """The same of this rank alone."""
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
        if facts.work is None:
            return
        yield from gauges_on(device, getattr(torch, facts.dtype), facts.work.weight_bytes // facts.ranks)
        yield from self.link_gauges()

    def link(self) -> Link:
        """The end on this rank of what all ranks send to each other by."""
        self._link = self._link or Link(self.loaded.device)
        return self._link

    @on_every_rank
    def slow_device(self, fraction: float) -> None:
        """Make every step longer on the device by a fraction of its own time; OptionError without a GPU."""
        self.decoder.slow_device(fraction)

    def close(self) -> None:
        """Let go of the model and give the device's memory back; the strategy must drop its own references first."""
        self._loaded = self._decoder = self._link = None
        gc.collect()
        self.part_from_ranks()
        torch.cuda.empty_cache()
        if self._device_before is not None:
            torch.cuda.set_device(self._device_before)
            self._device_before = None


def _too_long(request: Request, positions: int) -> str:
    tokens, output = len(request.prompts[0]), request.output_tokens
    return (
        f"{tokens} prompt and {output} output tokens take {tokens + output} positions, the model has {positions}; "
        "shorten the prompt or the output"
    )
