"""Owns the protocol that every way of running a model speaks.

A strategy reads no clock, retries nothing and prints nothing. Adding one is adding a file.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from perfsuite.core.canary import Canary
from perfsuite.core.recording import Evidence, Memory
from perfsuite.core.roofline import Limit
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import ModelFacts, ModelSpec, Workload
from perfsuite.measure.clock import Clock


class Ability(Enum):
    """What a strategy can do; what is absent is reported as not checked, never assumed.

    With CONCURRENCY the rows of a batch are requests of their own, which an engine or a server schedules as it likes:
    each has its own times. Without it all rows take every step together.
    """

    BATCH = "batch"
    CONCURRENCY = "concurrency"
    TEMPERATURE = "temperature"
    TOP_K = "top-k"
    TOP_P = "top-p"
    REPETITION_PENALTY = "repetition penalty"
    SEED = "seed"
    LOGITS = "logits"
    QUANTIZATION = "quantization"
    TENSOR_PARALLEL = "tensor parallel"


ALL_SAMPLING = frozenset({Ability.TEMPERATURE, Ability.TOP_K, Ability.TOP_P, Ability.REPETITION_PENALTY, Ability.SEED})


class Strategy(Protocol):
    """A way of running a model.

    `open` yields the name of each phase as it begins ('load', 'compile', 'capture', 'build'), so that whoever opens
    it can time them; `workloads` are what it will be asked for. `stream` yields a chunk when its token ids are on the
    host; before it is called and once it is exhausted, the device is idle. `facts` holds after `open`; `close` gives
    all memory back and may be called twice. What cannot run raises StrategyUnavailableError with the remedy.
    """

    name: str
    abilities: frozenset[Ability]

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]: ...
    def stream(self, request: Request) -> Iterator[Chunk]: ...
    def facts(self) -> ModelFacts: ...
    def evidence(self) -> Evidence: ...
    def close(self) -> None: ...


@runtime_checkable
class TimesDevice(Protocol):
    """A strategy whose device stamps its own steps: one duration in nanoseconds per step of the last request."""

    def device_ns(self) -> tuple[int, ...] | None: ...


@runtime_checkable
class SlowsDevice(Protocol):
    """A strategy that can be slowed on its device, to prove that a gate on device time can go red.

    From the call until `close`, every step keeps the device busy for `fraction` of its own time longer (0: no more);
    OptionError where there is no device. Steps of a kind that has not run since are not slowed yet: warm up first.
    """

    def slow_device(self, fraction: float) -> None: ...


@runtime_checkable
class CountsTokens(Protocol):
    """A strategy whose chunks may come without ids: how many tokens each chunk of the last request held.

    Asked when a stream is exhausted; one count per chunk, 0 for one that held none. `None`: the chunks had their ids.
    """

    def token_counts(self) -> tuple[int, ...] | None: ...


@runtime_checkable
class PreparesRequests(Protocol):
    """A strategy that does something with a request that belongs to no latency: makes it a text, captures a graph."""

    def prepare(self, request: Request) -> None: ...


@runtime_checkable
class RunsElsewhere(Protocol):
    """A strategy whose model is in no process of this session: what memory it takes cannot be seen from here."""

    place: str


@runtime_checkable
class KeepsEngines(Protocol):
    """A strategy whose engines are on disk; told before `open` in which folder, if the user names one.

    OptionError from `open` if what lies there does not fit the model, the device or the versions.
    """

    def keep_engines_in(self, folder: Path) -> None: ...


@runtime_checkable
class KnowsMemory(Protocol):
    """A strategy that can say what its allocator took since it was opened."""

    def memory(self) -> Memory: ...


@runtime_checkable
class KnowsPeaks(Protocol):
    """A strategy whose allocator can tell the peak of a part of a session: from `begin_peak` to the question.

    `None` where there is no device. What `memory` says of the whole session must not be touched by it.
    """

    def begin_peak(self) -> None: ...
    def peak_bytes(self) -> int | None: ...


Prompts = tuple[tuple[int, ...], ...]


@runtime_checkable
class ExposesLogits(Protocol):
    """A strategy that shows the logits [B, V] of the token after each prompt (all of one length), as its passes do."""

    def next_token_logits(self, prompts: Prompts) -> Any: ...


class Alphabet(Protocol):
    """What the token ids of a model stand for; `encode` gives the ids that begin a document of that text."""

    def encode(self, text: str) -> tuple[int, ...]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


@runtime_checkable
class KnowsAlphabet(Protocol):
    """A strategy that can say what the ids of its model stand for, once open; `None` where nobody knows."""

    def alphabet(self) -> Alphabet | None: ...


class CarriedCanary(Protocol):
    """A small fixed workload of perfsuite's own, free of the strategy's code, that runs where the strategy runs.

    `run` returns when it is done; `device_ns` is the device's time for the last run, `None` where the host's is all.
    """

    canary: Canary

    def run(self) -> None: ...
    def device_ns(self) -> int | None: ...


@runtime_checkable
class CarriesCanaries(Protocol):
    """A strategy beside whose blocks more than the host's own canary can be read; asked once, after `open`."""

    def canaries(self) -> Sequence[CarriedCanary]: ...


class Gauge(Protocol):
    """A piece of work that shows one limit of a device: `amount` bytes read, or operations of a matrix product.

    `run` returns when it is done; `device_ns` is the device's time for the last run, `None` where the host's is all.
    `parts` is how many such pieces the device can do at once at best: 1 for one that takes the whole device.
    """

    limit: Limit
    amount: int
    parts: int

    def run(self) -> None: ...
    def device_ns(self) -> int | None: ...


@runtime_checkable
class CarriesGauges(Protocol):
    """A strategy whose device's limits can be measured, if its facts say what work a pass is.

    Asked once, at the end of a session, when memory and evidence have been told. A gauge is made when it is its turn
    and let go before the next; the last one taken, all of its memory is given back.
    """

    def gauges(self) -> Iterator[Gauge]: ...


@runtime_checkable
class ScriptsTime(Protocol):
    """A strategy whose latencies are scripted: its own clock is read instead of the host's."""

    scripted_clock: Clock
