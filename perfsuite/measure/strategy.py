"""Owns the protocol that every way of running a model speaks, and how a name becomes an object.

A strategy reads no clock, retries nothing and prints nothing. Adding one is adding a file.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

from perfsuite.core.canary import Canary
from perfsuite.core.errors import OptionError, StrategyUnavailableError
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


PARTS = ("name", "abilities", "open", "stream", "facts", "evidence", "close")


def require_quantization(strategy: "Strategy", model: ModelSpec) -> None:
    """StrategyUnavailableError if the model is to be quantized and the strategy does not say that it can."""
    if model.quantization and Ability.QUANTIZATION not in strategy.abilities:
        raise StrategyUnavailableError(
            f"--perf-quantization: strategy {strategy.name!r} cannot quantize weights to {model.quantization}; drop "
            "the flag, or use --perf-strategy eager, jit, cuda-graph or jit-cuda-graph"
        )


def require_tensor_parallel(strategy: "Strategy", model: ModelSpec) -> None:
    """StrategyUnavailableError if the model is to be split over GPUs and the strategy does not say that it can."""
    if model.engine.tensor_parallel_size > 1 and Ability.TENSOR_PARALLEL not in strategy.abilities:
        raise StrategyUnavailableError(
            f"--perf-tensor-parallel: strategy {strategy.name!r} cannot split a model over GPUs; drop the flag, or use "
            "--perf-strategy eager, cuda-graph, jit, jit-cuda-graph, vllm or tensorrt-llm"
        )


def wanted_abilities(workload: Workload) -> frozenset[Ability]:
    """What a strategy must be able to do so that this workload is done as asked."""
    sampling = workload.sampling
    wanted = {
        Ability.BATCH: workload.batch_size > 1,
        Ability.TEMPERATURE: sampling.temperature != 1,
        Ability.TOP_K: sampling.top_k > 0,
        Ability.TOP_P: sampling.top_p < 1,
        Ability.REPETITION_PENALTY: sampling.repetition_penalty != 1,
    }
    return frozenset(ability for ability, is_wanted in wanted.items() if is_wanted)


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


def use_engines(strategy: "Strategy", folder: str | None) -> None:
    """Tell a strategy that keeps engines where they are; the others have none."""
    if folder is not None and isinstance(strategy, KeepsEngines):
        strategy.keep_engines_in(Path(folder))


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


@contextmanager
def opened(strategy: Strategy, model: ModelSpec, workloads: tuple[Workload, ...] = ()) -> Iterator[Strategy]:
    """The strategy, open and ready; closed on the way out whatever happens."""
    require_quantization(strategy, model)
    require_tensor_parallel(strategy, model)
    try:
        for _ in strategy.open(model, workloads):
            pass
        yield strategy
    finally:
        strategy.close()


def create(reference: str) -> Strategy:
    """A new strategy from 'package.module:Class' or 'path/to/file.py:Class'; OptionError if it is not there."""
    place, _, name = reference.rpartition(":")
    module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place, reference)
    factory = getattr(module, name, None)
    if not callable(factory):
        raise OptionError(f"strategy {reference!r}: {place} has no class {name!r}")
    strategy: Strategy = factory()
    missing = [part for part in PARTS if not hasattr(strategy, part)]
    if missing:
        raise OptionError(f"strategy {reference!r}: it lacks {', '.join(missing)}; see docs/adding-a-strategy.md")
    return strategy


def _import_module(name: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        raise OptionError(f"strategy {reference!r}: there is no module {error.name!r}") from error


def _import_file(path: Path) -> ModuleType:
    name = f"perfsuite_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise OptionError(f"strategy file {str(path)!r} does not exist")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
