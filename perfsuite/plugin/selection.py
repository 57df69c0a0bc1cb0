"""Owns the step from a test and its marker to the cells it asks for."""

import importlib.util
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.core.matrix import Cell, expand
from perfsuite.core.metrics import Metric
from perfsuite.core.options import Options, merge_tolerances, parse_resources, parse_tolerances
from perfsuite.core.workload import ModelSpec, SamplingParams, Workload
from perfsuite.models.presets import check_positions, positions_of
from perfsuite.strategies import resolve

MARKER = "@pytest.mark.perf"
MARKER_ARGUMENTS = (
    "strategy",
    "model",
    "prompt_tokens",
    "output_tokens",
    "batch_size",
    "sampling",
    "tolerance",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One cell that a test asks for, with the tolerances that test wants it judged by."""

    cell: Cell
    tolerances: tuple[tuple[Metric, float], ...]
    resources: tuple[tuple[str, float], ...] = ()

    @property
    def arm(self) -> "Arm":
        return Arm(strategy=self.cell.strategy, model=self.cell.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One strategy on one model, opened once for all tests that want it live."""

    strategy: str
    model: ModelSpec

    @property
    def id(self) -> str:
        """'eager/tiny'."""
        return f"{self.strategy.rsplit(':', 1)[-1]}/{self.model.slug}"


def asks_of(definition: pytest.Item, options: Options) -> tuple[Ask, ...]:
    """The run's matrix as changed by the test's marker; OptionError if the marker cannot be used."""
    marker = definition.get_closest_marker("perf")
    arguments: Mapping[str, Any] = marker.kwargs if marker else {}
    unknown = sorted(set(arguments) - set(MARKER_ARGUMENTS))
    if unknown or (marker and marker.args):
        found = repr(unknown[0]) if unknown else f"the positional {marker.args[0]!r}" if marker else ""
        raise OptionError(f"{MARKER}: {found} is not an argument; use {', '.join(MARKER_ARGUMENTS)} by name")
    text = str(arguments["tolerance"]) if "tolerance" in arguments else None
    changes = {} if text is None else parse_tolerances(text, where=MARKER)
    merged = merge_tolerances(options.gate.tolerances, changes)
    tolerances = tuple(sorted(merged.items(), key=lambda item: item[0].rank))
    used = merge_tolerances(options.gate.resources, {} if text is None else parse_resources(text, where=MARKER))
    resources = tuple(sorted(used.items()))
    return tuple(Ask(cell=cell, tolerances=tolerances, resources=resources) for cell in _cells(arguments, options))


def _cells(arguments: Mapping[str, Any], options: Options) -> tuple[Cell, ...]:
    named = [_reference(strategy) for strategy in _several(arguments, "strategy", options.strategies)]
    strategies = resolve(named, where=MARKER)
    models = tuple(_model(model, options) for model in _several(arguments, "model", options.models))
    workloads = tuple(
        Workload(
            prompt_tokens=prompt_tokens,
            output_tokens=arguments.get("output_tokens", options.output_tokens),
            batch_size=arguments.get("batch_size", options.batch_size),
            sampling=_sampling(arguments.get("sampling", options.sampling)),
            seed=options.seed,
        )
        for prompt_tokens in _several(arguments, "prompt_tokens", options.prompt_lengths)
    )
    for model in models:
        check_positions(model.name, positions_of(model.name), workloads)
    return expand(strategies, models, workloads)


def _several(arguments: Mapping[str, Any], name: str, default: tuple[Any, ...]) -> tuple[Any, ...]:
    """One value or several, as the marker gives them; none at all would leave the test out without a word."""
    value = arguments.get(name, default)
    values = tuple(value) if isinstance(value, (list, tuple, range)) else (value,)
    if not values:
        raise OptionError(f"{MARKER}: {name} is empty")
    if any(value in values[:place] for place, value in enumerate(values)):
        raise OptionError(f"{MARKER}: {name} names something twice: {', '.join(map(str, values))}")
    return values


def _reference(strategy: object) -> str:
    """A class as 'module:Class', or by its file where its module cannot be imported by name (importlib mode)."""
    if isinstance(strategy, str):
        return strategy
    if not isinstance(strategy, type):
        raise OptionError(f"{MARKER}: strategy must be a name or a class, found {strategy!r}")
    importable = importlib.util.find_spec(strategy.__module__.partition(".")[0]) is not None
    place = strategy.__module__ if importable else inspect.getsourcefile(strategy)
    return f"{place}:{strategy.__qualname__}"


def _model(model: object, options: Options) -> ModelSpec:
    if not isinstance(model, (str, PathLike, ModelSpec)):
        raise OptionError(f"{MARKER}: model must be a name or a ModelSpec, found {model!r}")
    return model if isinstance(model, ModelSpec) else replace(options.models[0], name=str(model))


def _sampling(value: object) -> SamplingParams:
    if not isinstance(value, SamplingParams):
        raise OptionError(f"{MARKER}: sampling must be a SamplingParams, found {value!r}")
    return value


def check_distinct(cells: tuple[Cell, ...]) -> None:
    """OptionError if two cells have one id: they would share one baseline file."""
    seen: dict[str, Cell] = {}
    for cell in cells:
        other = seen.setdefault(cell.id, cell)
        if other != cell:
            raise OptionError(
                f"{cell.id}: two different cells have this id; give one of them another strategy or model"
            )
