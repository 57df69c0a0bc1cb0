"""Owns the token loop that all in-process strategies share: prompt in, one step after the other, token ids out.

What differs between strategies is the `Forward` (logits for ids) or, where sampling is part of what they speed up,
the whole `Step` (the next ids for ids). It reads no host clock; the device stamps its own steps.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import SamplingParams
from perfsuite.strategies._sampler import mark_seen, sample

NS_PER_EVENT_UNIT = 1_000_000  # torch.cuda.Event.elapsed_time gives milliseconds


class Forward(Protocol):
    """A model's passes; both give the logits of the last position, [B, V]."""

    def prefill(self, ids: Tensor) -> Tensor:
        """Forget what was before and take in the prompts, ids [B, L] (int64)."""
        ...

    def decode(self, ids: Tensor) -> Tensor:
        """Take in one more token of each row, ids [B, 1]."""
        ...


class Step(Protocol):
    """A model's passes with sampling included; both give the next token ids, [B, 1] (int64), on the device."""

    def prefill(self, ids: Tensor, sampling: SamplingParams) -> Tensor:
        """Begin a request: seed the generator, forget what was before, take in the prompts, ids [B, L]."""
        ...

    def decode(self, ids: Tensor) -> Tensor:
        """Take in the ids that the step before gave."""
        ...


class SampledStep:
    """A Step made of a Forward and the sampler, one kernel after the other."""

    def __init__(self, forward: Forward, device: torch.device) -> None:
        self._forward = forward
        self._generator = torch.Generator(device)
        self._sampling = SamplingParams()
        self._seen_buffer: Tensor | None = None
        self._seen: Tensor | None = None

    def prefill(self, ids: Tensor, sampling: SamplingParams) -> Tensor:
        self._sampling = sampling
        self._generator.manual_seed(sampling.seed)
        logits = self._forward.prefill(ids)
        self._seen = self._fresh_seen(logits) if sampling.repetition_penalty != 1 else None
        return self._draw(logits, ids)

    def decode(self, ids: Tensor) -> Tensor:
        return self._draw(self._forward.decode(ids), ids)

    def _draw(self, logits: Tensor, ids: Tensor) -> Tensor:
        if self._seen is not None:
            mark_seen(self._seen, ids)
        return sample(logits, self._seen, self._sampling, self._generator).unsqueeze(1)

    def _fresh_seen(self, logits: Tensor) -> Tensor:
        if self._seen_buffer is None or self._seen_buffer.shape != logits.shape:
            self._seen_buffer = torch.zeros_like(logits, dtype=torch.bool)
        return self._seen_buffer.zero_()


class Decoder:
    """Streams requests through a Step. The device is idle before a stream begins and once it has ended."""

    def __init__(self, step: Step, device: torch.device, eos_token_ids: tuple[int, ...]) -> None:
        self._step = step
        self._device = device
        self._eos_token_ids = frozenset(eos_token_ids)
        self._stopwatch = _Stopwatch(device) if device.type == "cuda" else None

    def stream(self, request: Request) -> Iterator[Chunk]:
        """A chunk of one token per row and step. An end-of-sequence id is the last token of its row unless ignored."""
        if self._stopwatch:
            self._stopwatch.reset()
        stop_ids: frozenset[int] = frozenset() if request.ignore_eos else self._eos_token_ids
        running = set(range(len(request.prompts)))
        try:
            for index, tokens in enumerate(self._steps(request), start=1):
                for row in sorted(running):
                    token = tokens[row]
                    reason = "stop" if token in stop_ids else "length" if index == request.output_tokens else None
                    if reason:
                        running.remove(row)
                    yield Chunk(token_ids=(token,), row=row, finish_reason=reason)
                if not running:
                    return
        finally:
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)

    def _steps(self, request: Request) -> Iterator[list[int]]:
        """The token of every row, step by step, without end."""
        prompts = torch.tensor(request.prompts, dtype=torch.int64).to(self._device, non_blocking=True)
        with self._step_scope():
            ids = self._step.prefill(prompts, request.sampling)
        while True:
            yield ids.flatten().tolist()
            with self._step_scope():
                ids = self._step.decode(ids)

    @contextmanager
    def _step_scope(self) -> Iterator[None]:
        """Inference mode for one step, never across a yield to the caller; stamped where there is a device."""
        with torch.inference_mode():
            if self._stopwatch is None:
                yield
                return
            self._stopwatch.record()
            yield
            self._stopwatch.record()

    def device_ns(self) -> tuple[int, ...] | None:
        """The device's time for each step of the last request, sampling included; `None` on a CPU."""
        return self._stopwatch.durations_ns() if self._stopwatch else None


class _Stopwatch:
    """Pairs of CUDA events, reused from request to request; read only when the device is idle."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events: list[torch.cuda.Event] = []
        self._used = 0

    def reset(self) -> None:
        self._used = 0

    def record(self) -> None:
        if self._used == len(self._events):
            self._events.append(torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]
        self._events[self._used].record(torch.cuda.current_stream(self._device))
        self._used += 1

    def durations_ns(self) -> tuple[int, ...]:
        pairs = zip(self._events[0 : self._used : 2], self._events[1 : self._used : 2], strict=False)
        return tuple(round(start.elapsed_time(end) * NS_PER_EVENT_UNIT) for start, end in pairs)


def next_token_logits(forward: Forward, prompts: tuple[tuple[int, ...], ...], device: torch.device) -> Tensor:
    """What a Forward says about the token after each prompt (all of one length): [B, V], float32, on the host."""
    with torch.inference_mode():
        return forward.prefill(torch.tensor(prompts, dtype=torch.int64).to(device)).float().cpu()
