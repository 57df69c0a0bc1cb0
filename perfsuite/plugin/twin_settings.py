"""Owns the reading of the flags of twin mode: against what, in which arms, and what they exclude."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from perfsuite.arms.reference import Kind, Reference, parse_reference
from perfsuite.core.errors import OptionError
from perfsuite.core.options import Options
from perfsuite.core.workload import ModelSpec
from perfsuite.plugin.reader import FLAGS, Reader
from perfsuite.strategies import resolve

EXCLUDED = ("resume", "selftest", "baseline_append")
"""Switches that make no sense beside an arm."""
OF_MODEL = ("revision", "dtype", "quantization", "load_format", "device")
NUMBERS: Mapping[str, type[int] | type[float]] = MappingProxyType(
    {"tensor_parallel_size": int, "gpu_memory_utilization": float, "max_model_len": int}
)
OF_ENGINE = ("endpoint", *NUMBERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmOptions:
    """One arm of --perf-arms: a strategy, what differs in how the model is run, and environment variables."""

    text: str
    strategy: str
    changes: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def model(self, base: ModelSpec) -> ModelSpec:
        """The model as this arm runs it."""
        of_engine = {name: value for name, value in self.changes.items() if name in OF_ENGINE}
        others = {name: value for name, value in self.changes.items() if name not in OF_ENGINE}
        engine = replace(base.engine, **of_engine)  # type: ignore[arg-type]
        return replace(base, engine=engine, **others)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinSettings:
    """What is measured in turns, if anything is. `bases` are the run's models by those of the second arm."""

    against: Reference | None = None
    confirm: Reference | None = None
    arms: tuple[ArmOptions, ArmOptions] | None = None
    bisects: bool = False
    bases: Mapping[ModelSpec, ModelSpec] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def reference(self) -> Reference | None:
        return self.against or self.confirm

    @property
    def where(self) -> str:
        """The flag that names the old arm."""
        return FLAGS["against" if self.against else "confirm_against" if self.confirm else "arms"].option

    @property
    def replaces_baseline(self) -> bool:
        """Whether no stored baseline has a say."""
        return self.against is not None or self.arms is not None


def read_twin(reader: Reader, root: Path, strategies: tuple[str, ...], *, save_baseline: bool) -> TwinSettings:
    """The flags of twin mode; OptionError for what cannot be used or does not go together."""
    given = [name for name in ("against", "confirm_against", "arms") if reader.text(name)]
    bisects, option = reader.switch("bisect"), FLAGS["bisect"].option
    if len(given) > 1:
        raise OptionError(f"{FLAGS[given[1]].option}: not together with {FLAGS[given[0]].option}")
    if given:
        _check_company(FLAGS[given[0]].option, reader, save_baseline)
    against, confirm = (
        parse_reference(reader.text(name), root=root, where=FLAGS[name].option) if name in given else None
        for name in ("against", "confirm_against")
    )
    if bisects and (against is None or against.kind is not Kind.REVISION):
        raise OptionError(f"{option}: needs a revision that was good: {FLAGS['against'].option} REVISION")
    arms = parse_arms(reader.text("arms"), strategies) if "arms" in given else None
    return TwinSettings(against=against, confirm=confirm, arms=arms, bisects=bisects)


def _check_company(option: str, reader: Reader, save_baseline: bool) -> None:
    if save_baseline:
        raise OptionError(f"{option}: not together with --save-baseline; what is measured in turns is no baseline")
    for name in EXCLUDED:
        if reader.switch(name):
            raise OptionError(f"{option}: not together with {FLAGS[name].option}")


def parse_arms(text: str, strategies: tuple[str, ...]) -> tuple[ArmOptions, ArmOptions]:
    """Two arms from 'eager,jit' or 'eager dtype=float32,eager VARIABLE=1'; OptionError for anything else.

    An arm without a strategy has that of the run, if it is one only.
    """
    where = FLAGS["arms"].option
    lexer = shlex.shlex(text, posix=True, punctuation_chars=",")
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError as error:
        raise OptionError(f"{where}: {text!r} cannot be read ({error})") from error
    sides: list[list[str]] = [[]]
    for word in words:
        if word == ",":
            sides.append([])
        else:
            sides[-1].append(word)
    if len(sides) != 2 or not all(sides):
        raise OptionError(f"{where}: {text!r} is not two arms; write 'eager,jit' or 'dtype=float32,dtype=bfloat16'")
    first, second = (_arm(side, strategies, where) for side in sides)
    return first, second


def _arm(words: list[str], strategies: tuple[str, ...], where: str) -> ArmOptions:
    names = [word for word in words if "=" not in word]
    if len(names) > 1:
        raise OptionError(f"{where}: {' '.join(words)!r} names two strategies in one arm; arms are parted by a comma")
    if not names and len(strategies) != 1:
        raise OptionError(f"{where}: {' '.join(words)!r} names no strategy, and --perf-strategy names several")
    (strategy,) = resolve(names, where=where) if names and names[0] != "all" else (strategies[0],)
    keys = [word.partition("=")[0] for word in words if "=" in word]
    if len(set(keys)) != len(keys):
        raise OptionError(f"{where}: {' '.join(words)!r} gives something twice in one arm; arms are parted by a comma")
    pairs = dict(word.split("=", 1) for word in words if "=" in word)
    variables = {name: value for name, value in pairs.items() if name.isupper()}
    changes = {name.replace("-", "_"): value for name, value in pairs.items() if name not in variables}
    unknown = sorted(set(changes) - set(OF_MODEL) - set(OF_ENGINE))
    if unknown:
        known = ", ".join((*OF_MODEL, *OF_ENGINE))
        raise OptionError(f"{where}: {unknown[0]!r} is no option of an arm; choose from {known}, or VARIABLE=value")
    return ArmOptions(
        text=" ".join(words),
        strategy=strategy,
        changes={name: _typed(name, value, where) for name, value in changes.items()},
        variables=variables,
    )


def _typed(name: str, value: str, where: str) -> object:
    kind = NUMBERS.get(name, str)
    try:
        return kind(value)
    except ValueError as error:
        raise OptionError(f"{where}: {name}={value!r} is not a number") from error


def in_arms(options: Options, twin: TwinSettings) -> tuple[Options, TwinSettings]:
    """The run as its second arm asks for it, and the models that both arms started from."""
    if twin.arms is None:
        return options, twin
    first, second = twin.arms
    try:
        bases = {second.model(base): base for base in options.models}
        for base in options.models:
            first.model(base)
    except OptionError as error:
        raise OptionError(f"{twin.where}: {error}") from error
    return replace(options, strategies=(second.strategy,), models=tuple(bases)), replace(twin, bases=bases)
