"""Owns the token loop that all in-process strategies share: prompt in, one step after the other, token ids out.

What differs between strategies is the `Forward` (logits for ids) or, where sampling is part of what they speed up,
the whole `Step` (the next ids for ids). It reads no host clock; the device stamps its own steps.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from perfsuite.core.errors import OptionError
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import SamplingParams
from perfsuite.strategies._device_time import Brake, StepKind, Stopwatch
from perfsuite.strategies._sampler import Draws
from perfsuite.strategies._transfer import Inlet, Landing, Outlet


class Forward(Protocol):
    """A model's passes; both give the logits of the last position, [B, V]."""

    def prefill(self, ids: Tensor) -> Tensor:
        """Forget what was before and take in the prompts, ids [B, L] (int64)."""
        ...

    def decode(self, ids: Tensor) -> Tensor:
        """Take in one more token of each row, ids [B, 1]."""
        ...


Ids = Tensor | Landing
"""Token ids [B, 1] (int64) on the device, or on their way to the host."""


class Step(Protocol):
    """A model's passes with sampling included; both give the next token ids."""

    def begin(self, request: Request) -> None:
        """Get ready for a request: seed the generator, take up the prompts."""
        ...

    def prefill(self) -> Ids:
        """Forget what was before and take in the prompts."""
        ...

    def decode(self) -> Ids:
        """Take in the ids that the step before gave."""
        ...


class SampledStep:
    """A Step made of a Forward and the sampler, one kernel after the other."""

    def __init__(self, forward: Forward, device: torch.device) -> None:
        self._forward = forward
        self._device = device
        self._inlet = Inlet(device)
        self._draws = Draws(device)
        self._sampling = SamplingParams()
        self._prompts = self._ids = torch.empty(0)

    def begin(self, request: Request) -> None:
        self._sampling = request.sampling
        self._draws.begin(request.sampling)
        self._prompts = self._inlet.stage(request.prompts).to(self._device, non_blocking=True)
        self._ids = self._prompts.new_empty((len(request.prompts), 1))

    def prefill(self) -> Tensor:
        self._draws.first(self._forward.prefill(self._prompts), self._prompts, self._sampling, self._ids)
        return self._ids

    def decode(self) -> Tensor:
        self._draws.next(self._forward.decode(self._ids), self._ids, self._sampling, self._ids)
        return self._ids


class Decoder:
    """Streams requests through a Step. The device is idle before a stream begins and once it has ended."""

    def __init__(self, step: Step, device: torch.device, eos_token_ids: tuple[int, ...]) -> None:
        self._step = step
        self._device = device
        self._eos_token_ids = frozenset(eos_token_ids)
        self._outlet = Outlet(device)
        self._stopwatch = Stopwatch(device) if device.type == "cuda" else None
        self._brake: Brake | None = None

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
            self._come_to_rest()

    def _come_to_rest(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        if self._brake and self._stopwatch:
            self._brake.learn(self._stopwatch.durations_ns())

    def _steps(self, request: Request) -> Iterator[list[int]]:
        """The token of every row, step by step, without end."""
        rows, prompt_tokens = len(request.prompts), len(request.prompts[0])
        self._step.begin(request)
        ids = self._take(self._step.prefill, StepKind("prefill", rows, prompt_tokens))
        decoding = StepKind("decode", rows, prompt_tokens)
        while True:
            yield self._outlet.fetch(ids)
            ids = self._take(self._step.decode, decoding)

    def _take(self, step: Callable[[], Ids], kind: StepKind) -> Ids:
        """One step in inference mode, which does not last until the caller's next; stamped where there is a device."""
        with torch.inference_mode():
            if self._stopwatch is None:
                return step()
            self._stopwatch.record()
            ids = step()
            if self._brake:
                self._brake.apply(kind)
            self._stopwatch.record()
            return ids

    def device_ns(self) -> tuple[int, ...] | None:
        """The device's time for each step of the last request, sampling included; `None` on a CPU."""
        return self._stopwatch.durations_ns() if self._stopwatch else None

    def slow_device(self, fraction: float) -> None:
        """Make every step longer on the device by a fraction of its own time; OptionError without a GPU."""
        if self._device.type != "cuda":
            raise OptionError(
                f"slowing the device needs a GPU, and the model runs on {str(self._device)!r}; use --perf-device cuda"
            )
        self._brake = Brake(self._device, fraction) if fraction else None


def next_token_logits(forward: Forward, prompts: tuple[tuple[int, ...], ...], device: torch.device) -> Tensor:
    """What a Forward says about the token after each prompt (all of one length): [B, V], float32, on the host."""
    with torch.inference_mode():
        return forward.prefill(torch.tensor(prompts, dtype=torch.int64).to(device)).float().cpu()


def last_position_only(model: Any) -> dict[str, int]:
    """The argument that keeps a transformers model from computing logits that nobody reads; empty if it has none."""
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
