"""Owns the reading of flags and ini keys; every error names the flag, the text found and what is allowed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from perfsuite.core.engine import EngineOptions
from perfsuite.core.errors import OptionError
from perfsuite.core.options import (
    MeasureOptions,
    Options,
    parse_lengths,
    parse_slowdown,
    parse_timeouts,
)
from perfsuite.core.shard import Shard
from perfsuite.core.throughput import parse_objectives
from perfsuite.core.units import parse_duration
from perfsuite.core.workload import ModelSpec, SamplingParams
from perfsuite.models.presets import folder_of
from perfsuite.plugin.fleet_settings import FleetSettings, read_fleet
from perfsuite.plugin.gate_settings import read_gate
from perfsuite.plugin.paths import folder_path, report_paths
from perfsuite.plugin.reader import FLAGS, Reader
from perfsuite.plugin.shard_settings import read_shard
from perfsuite.plugin.twin_settings import TwinSettings, in_arms, read_twin
from perfsuite.strategies import references, resolve

PYTESTS_OWN = range(1, 6)
"""Exit statuses that pytest gives a meaning: tests failed, interrupted, its own error, usage, no tests."""
LARGEST_EXIT = 255
"""A process has one byte for its exit status."""
LARGEST_SEED = 2**63 - 1
"""What generators of random numbers take everywhere."""
MOST = 1_000_000
"""Samples, requests, tokens or rows: more is a slip of the hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A run's options, and where its files are. `references` maps a strategy's name to the class that is created.

    `reports` is where the reports go that were asked for, by their flags' names. `interleave` says whether strategies
    are measured in turns, `fleet` where sessions are run. `inconclusive_exit` is the exit status of a run that only
    stays inconclusive, 0 for no status of its own.
    """

    options: Options
    references: Mapping[str, str]
    strategies_were_named: bool
    root: Path
    baseline_dir: Path
    history: str | None = field(repr=False)
    engine_dir: str | None
    reports: Mapping[str, Path]
    interleave: str
    inconclusive_exit: int
    resume: bool
    append: bool
    update_noise: bool
    selftest: bool
    twin: TwinSettings
    fleet: FleetSettings
    shard: Shard | None = None

    def reference(self, strategy: str) -> str:
        """'module:Class' of a strategy's name; a reference stays itself."""
        return self.references.get(strategy, strategy)


def read_settings(config: pytest.Config) -> Settings:
    """Everything a run needs to know; OptionError on the first thing that cannot be used."""
    reader = Reader(config)
    try:
        return _read(reader, config)
    except OptionError as error:
        raise reader.by_source(error) from error


def _read(reader: Reader, config: pytest.Config) -> Settings:
    strategies = resolve(_names(reader, "strategy"), where=FLAGS["strategy"].option)
    known = references()
    save_baseline = bool(config.getoption("perf_save_baseline"))
    twin = read_twin(reader, config.rootpath, strategies, save_baseline=save_baseline)
    options, twin = in_arms(_options(reader, strategies, save_baseline), twin)
    return Settings(
        options=options,
        references=known,
        strategies_were_named="all" not in _names(reader, "strategy"),
        root=config.rootpath,
        baseline_dir=folder_path(reader, "baseline_dir", config.rootpath),
        history=reader.text("history") or None,
        engine_dir=str(folder_path(reader, "engine_dir", config.rootpath)) if reader.text("engine_dir") else None,
        reports=report_paths(reader, config.invocation_params.dir),
        interleave=reader.choice("interleave", ("auto", "on", "off")),
        inconclusive_exit=_inconclusive_exit(reader),
        resume=reader.switch("resume"),
        append=_append(reader, save_baseline),
        update_noise=reader.switch("update_noise") and not save_baseline,
        selftest=_selftest(reader, save_baseline),
        twin=twin,
        fleet=read_fleet(reader, options.models),
        shard=read_shard(reader),
    )


def _inconclusive_exit(reader: Reader) -> int:
    status = reader.number("inconclusive_exit", int, least=0)
    if status in PYTESTS_OWN or status > LARGEST_EXIT:
        allowed = f"it must be {PYTESTS_OWN.stop} to {LARGEST_EXIT}, or 0 for no status of its own"
        raise OptionError(f"{FLAGS['inconclusive_exit'].option}: {status} is not allowed; {allowed}")
    return status


def _append(reader: Reader, save_baseline: bool) -> bool:
    append = reader.switch("baseline_append")
    if append and not save_baseline:
        raise OptionError(f"{FLAGS['baseline_append'].option}: there is nothing to append without --save-baseline")
    return append


def _selftest(reader: Reader, save_baseline: bool) -> bool:
    selftest, option = reader.switch("selftest"), FLAGS["selftest"].option
    if selftest and save_baseline:
        raise OptionError(f"{option}: not together with --save-baseline; save first, then run pytest --perf {option}")
    if selftest and reader.text("inject_slowdown"):
        raise OptionError(f"{option}: it injects a slowdown of its own; leave out --perf-inject-slowdown")
    return selftest


def _options(reader: Reader, strategies: tuple[str, ...], save_baseline: bool) -> Options:
    where = {name: flag.option for name, flag in FLAGS.items()}
    return Options(
        strategies=strategies,
        models=tuple(_model(reader, name) for name in _names(reader, "model")),
        prompt_lengths=parse_lengths(reader.text("prompt_lengths"), where=where["prompt_lengths"]),
        output_tokens=reader.number("output_tokens", int, least=1, most=MOST),
        batch_size=reader.number("batch_size", int, least=1, most=MOST),
        sampling=_sampling(reader),
        seed=reader.number("seed", int, least=0, most=LARGEST_SEED),
        measure=_measure(reader, save_baseline),
        gate=read_gate(reader, save_baseline=save_baseline),
        save_baseline=save_baseline,
        objectives=parse_objectives(reader.text("goodput"), where=where["goodput"]),
    )


def _names(reader: Reader, name: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in reader.text(name).split(",") if part.strip())
    if not names or len(set(names)) != len(names):
        raise OptionError(f"{FLAGS[name].option}: {reader.text(name)!r} names nothing, or something twice")
    return names


def _model(reader: Reader, name: str) -> ModelSpec:
    try:
        folder_of(name)
        return ModelSpec(
            name=name,
            revision=reader.text("revision") or None,
            dtype=reader.text("dtype"),
            quantization=reader.text("quantization") or None,
            load_format=reader.text("load_format"),
            trust_remote_code=reader.switch("trust_remote_code"),
            device=reader.text("device"),
            engine=_engine(reader),
        )
    except OptionError as error:
        raise OptionError(_by_flag(error)) from error


def _engine(reader: Reader) -> EngineOptions:
    share = reader.text("gpu_memory_utilization")
    return EngineOptions(
        endpoint=reader.text("endpoint") or None,
        tokenizer=reader.text("tokenizer") or None,
        request_timeout_ns=parse_duration(reader.text("request_timeout"), where=FLAGS["request_timeout"].option),
        tensor_parallel_size=reader.number("tensor_parallel", int),
        gpu_memory_utilization=reader.number("gpu_memory_utilization", float) if share else None,
        max_model_len=reader.whole_or_none("max_model_len"),
    )


def _by_flag(error: OptionError) -> str:
    """'--perf-load-format: …' for 'load format: …'; what names a flag already stays as it is."""
    name, colon, rest = str(error).partition(":")
    return str(error) if name.startswith("--") else f"--perf-{name.replace(' ', '-')}{colon}{rest}"


def _sampling(reader: Reader) -> SamplingParams:
    try:
        return SamplingParams(
            temperature=reader.number("temperature", float),
            top_k=reader.number("top_k", int),
            top_p=reader.number("top_p", float),
            repetition_penalty=reader.number("repetition_penalty", float),
        )
    except OptionError as error:
        text = str(error)
        raise OptionError(text if text.startswith("--") else f"--perf-{text.replace('_', '-', 1)}") from error


def _measure(reader: Reader, save_baseline: bool) -> MeasureOptions:
    samples = reader.number("samples", int, least=1, most=MOST)
    text = reader.text("inject_slowdown")
    if text and save_baseline:
        option = FLAGS["inject_slowdown"].option
        raise OptionError(f"{option}: not together with --save-baseline; no baseline is slowed down")
    slowdown, slow_device = parse_slowdown(text, where=FLAGS["inject_slowdown"].option) if text else (0.0, False)
    silence_ns, phases = parse_timeouts(reader.text("timeout"), where=FLAGS["timeout"].option)
    return MeasureOptions(
        samples=samples,
        decode_samples=reader.whole_or_none("decode_samples", most=MOST) or max(10, samples // 32),
        warmup=reader.number("warmup", int, least=0, most=MOST),
        injected_slowdown=slowdown,
        slow_device=slow_device,
        silence_ns=silence_ns,
        phase_silence_ns=phases,
        monitor=_monitor(reader),
    )


def _monitor(reader: Reader) -> bool:
    text = reader.text("monitor")
    if text not in ("on", "off"):
        raise OptionError(f"{FLAGS['monitor'].option}: {text!r} is not allowed; write 'on' or 'off'")
    return text == "on"
