"""Owns time on the device: how long its steps took, and making them longer on purpose to prove a gate."""

from collections import defaultdict, deque
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import torch

NS_PER_EVENT_UNIT = 1_000_000  # torch.cuda.Event.elapsed_time gives milliseconds

_CALIBRATION_CYCLES = 50_000_000  # some 25 ms: long enough for the clock to be what it is under load
_REMEMBERED_STEPS = 255


class StepKind(NamedTuple):
    """Steps that take a device equally long: prefills or decode steps, of as many rows of as many prompt tokens."""

    phase: str
    rows: int
    prompt_tokens: int


class Stopwatch:
    """Pairs of CUDA events, reused from request to request; read only when the device is idle."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events: list[torch.cuda.Event] = []
        self._used = 0
        self._stream = torch.cuda.current_stream(device)

    def reset(self) -> None:
        """Begin anew, on what is the current stream now."""
        self._used = 0
        self._stream = torch.cuda.current_stream(self._device)

    def record(self) -> None:
        if self._used == len(self._events):
            self._events.append(torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]
        self._events[self._used].record(self._stream)
        self._used += 1

    def durations_ns(self) -> tuple[int, ...]:
        pairs = zip(self._events[0 : self._used : 2], self._events[1 : self._used : 2], strict=False)
        return tuple(round(start.elapsed_time(end) * NS_PER_EVENT_UNIT) for start, end in pairs)


class Brake:
    """Keeps a device busy after a step, for a fraction of what steps of its kind take by themselves.

    What a kind takes is the median over its last steps, less what was added to them; its first request goes free.
    """

    def __init__(self, device: torch.device, fraction: float) -> None:
        self._device = device
        self._fraction = fraction
        self._cycles_per_ns = _cycles_per_ns(device)
        self._natural_ns: dict[StepKind, deque[float]] = defaultdict(lambda: deque(maxlen=_REMEMBERED_STEPS))
        self._added_ns: dict[StepKind, float] = {}
        self._steps: list[tuple[StepKind, float]] = []

    def apply(self, kind: StepKind) -> None:
        """Enqueue the delay behind a step of this kind."""
        added_ns = self._added_ns.get(kind, 0.0)
        self._steps.append((kind, added_ns))
        if added_ns > 0:
            with torch.cuda.device(self._device):
                _wait(round(added_ns * self._cycles_per_ns))

    def learn(self, durations_ns: Sequence[int]) -> None:
        """What the steps since the last call took, delays included; to be called between requests."""
        for (kind, added_ns), duration_ns in zip(self._steps, durations_ns, strict=False):
            self._natural_ns[kind].append(max(duration_ns - added_ns, 0.0))
        for kind in {kind for kind, _ in self._steps}:
            self._added_ns[kind] = added_time_ns(self._natural_ns[kind], self._fraction)
        self._steps.clear()


def added_time_ns(natural_ns: Sequence[float], fraction: float) -> float:
    """How much longer a step gets, from what steps of its kind took; 0 while none is known."""
    return fraction * median(natural_ns) if natural_ns else 0.0


def _wait(cycles: int) -> None:
    """Keep the current stream busy; the kernel that torch has for its own tests of streams."""
    torch.cuda._sleep(cycles)  # type: ignore[no-untyped-call]


def _cycles_per_ns(device: torch.device) -> float:
    """The device's clock, by an event pair around a busy wait of known cycles; a first wait raises the clock."""
    watch = Stopwatch(device)
    with torch.cuda.device(device):
        _wait(_CALIBRATION_CYCLES)
        watch.record()
        _wait(_CALIBRATION_CYCLES)
        watch.record()
        torch.cuda.synchronize(device)
    return _CALIBRATION_CYCLES / watch.durations_ns()[0]
