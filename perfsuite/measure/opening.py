"""Owns how a name becomes an open strategy: found, asked whether it can do what is wanted, opened, closed."""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from perfsuite.core.errors import OptionError, PerfsuiteError, StrategyUnavailableError, one_line
from perfsuite.core.options import MeasureOptions
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.strategy import Ability, KeepsEngines, SlowsDevice, Strategy

PARTS = ("name", "abilities", "open", "stream", "facts", "evidence", "close")
"""What a strategy consists of."""


def require_quantization(strategy: Strategy, model: ModelSpec) -> None:
    """StrategyUnavailableError if the model is to be quantized and the strategy does not say that it can."""
    if model.quantization and Ability.QUANTIZATION not in strategy.abilities:
        raise StrategyUnavailableError(
            f"--perf-quantization: strategy {strategy.name!r} cannot quantize weights to {model.quantization}; drop "
            "the flag, or use --perf-strategy eager, jit, cuda-graph or jit-cuda-graph"
        )


def require_tensor_parallel(strategy: Strategy, model: ModelSpec) -> None:
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


def require_batch(strategy: Strategy, rows: int) -> None:
    """OptionError if requests of several rows are wanted and the strategy does not say that it can."""
    if rows > 1 and Ability.BATCH not in strategy.abilities:
        raise OptionError(f"--perf-batch-size: {rows} is not allowed with strategy {strategy.name!r}, which runs one")


def slow_device(strategy: Strategy, options: MeasureOptions) -> None:
    """Inject the slowdown that belongs on the device, if any; OptionError if the strategy cannot be slowed there.

    The recorder injects the others.
    """
    if not options.slow_device:
        return
    if not isinstance(strategy, SlowsDevice):
        raise OptionError(f"--perf-inject-slowdown: strategy {strategy.name!r} cannot be slowed on a device; use host:")
    strategy.slow_device(options.injected_slowdown)


def use_engines(strategy: Strategy, folder: str | None) -> None:
    """Tell a strategy that keeps engines where they are; the others have none."""
    if folder is not None and isinstance(strategy, KeepsEngines):
        strategy.keep_engines_in(Path(folder))


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
    """A new strategy from 'package.module:Class' or 'path/to/file.py:Class'.

    OptionError, in one line, if it is not there, if its code breaks, or if it is no strategy.
    """
    place, _, name = reference.rpartition(":")
    try:
        module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
        factory = getattr(module, name, None)
        if not callable(factory):
            raise OptionError(f"{place} has no class {name!r}")
        strategy: Strategy = factory()
        _check_parts(strategy)
    except OptionError as error:
        raise OptionError(f"strategy {reference!r}: {error}") from error
    except PerfsuiteError:
        raise
    except Exception as error:
        raise OptionError(f"strategy {reference!r}: {one_line(error)}{_line_in(error, place)}") from error
    return strategy


def _check_parts(strategy: Strategy) -> None:
    missing = [part for part in PARTS if not hasattr(strategy, part)]
    if missing:
        raise OptionError(f"it lacks {', '.join(missing)}; see docs/adding-a-strategy.md")
    abilities = strategy.abilities
    if not isinstance(abilities, Set) or not all(isinstance(ability, Ability) for ability in abilities):
        raise OptionError(f"its abilities are {abilities!r}, not a frozenset of Ability; see docs/adding-a-strategy.md")


def _line_in(error: Exception, place: str) -> str:
    """' (file.py, line 3)': the last line of the strategy's file that the error passed; empty if it passed none."""
    file = Path(place).name if place.endswith(".py") else f"{place.rpartition('.')[2]}.py"
    if isinstance(error, SyntaxError):  # which names its own
        return ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == file]
    return f" ({file}, line {lines[-1]})" if lines else ""


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        raise OptionError(f"there is no module {error.name!r}") from error


def _import_file(path: Path) -> ModuleType:
    name = f"perfsuite_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise OptionError("there is no such file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
