"""Owns a made-up run for reports: strategies over prompt lengths on a device with limits, judged by the real gate."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from perfsuite.core.baseline import Baseline
from perfsuite.core.judgement import judge_cell, suite_noise
from perfsuite.core.matrix import Cell
from perfsuite.core.options import DEFAULT_TOLERANCES, Options
from perfsuite.core.recording import Environment, Evidence, Memory, Recording, StartupPhase
from perfsuite.core.roofline import Limits, Rate, Roofline
from perfsuite.core.sample import Phase, Sample
from perfsuite.core.sampling_check import Passage, SamplingCheck
from perfsuite.core.units import NS_PER_S
from perfsuite.core.work import ModelWork
from perfsuite.plugin import commands
from perfsuite.report.run import Run
from tests.builders import make_baseline, make_cell, make_environment, make_sample

ARGV = ("--perf", "--perf-strategy", "all", "--perf-model", "llama-2-7b", "--perf-html", "report.html")
TTFT_MS = {"eager": 27.8, "cuda-graph": 19.1, "jit": 23.0, "jit-cuda-graph": 15.6}
STARTUP_S = {"eager": 6.0, "cuda-graph": 9.5, "jit": 48.0, "jit-cuda-graph": 96.0}
MEMORY_GIB = {"eager": 13.2, "cuda-graph": 14.1, "jit": 13.5, "jit-cuda-graph": 14.3}
LENGTHS = (10, 50, 100, 150, 200, 250, 300, 350, 400)
STORED, MEASURED = 8, 4


def make_run(
    strategies: Sequence[str] = tuple(TTFT_MS),
    lengths: Sequence[int] = LENGTHS,
    *,
    samples: int = 320,
    changes: Mapping[str, float] | None = None,
    notes: tuple[str, ...] = (),
) -> Run:
    """Every strategy at every length, against baselines of eight sessions; `changes` slow cells down by their id.

    Without any, jit-cuda-graph at 100 tokens is 16 % slower and eager at 10 tokens 12 % faster.
    """
    slower = (
        {"jit-cuda-graph/llama-2-7b/p100-o32": 0.16, "eager/llama-2-7b/p10-o32": -0.12} if changes is None else changes
    )
    cells = [make_cell(strategy, "llama-2-7b", length, 32) for strategy in strategies for length in lengths]
    baselines = {cell: _baseline(cell, samples) for cell in cells}
    now = make_environment(driver="570.86.10", torch="2.11.0")
    recordings = {
        cell: tuple(_recording(cell, now, index, samples, 1 + slower.get(cell.id, 0.0)) for index in range(MEASURED))
        for cell in cells
    }
    noise = suite_noise(list(baselines.values()), DEFAULT_TOLERANCES)
    judgements = tuple(
        judge_cell(
            cell,
            baselines[cell],
            recordings[cell],
            tolerances=dict(DEFAULT_TOLERANCES),
            gates=len(cells) * 4,
            options=Options().gate,
            noise=noise,
            save_command=commands.save(ARGV, cell),
        )
        for cell in cells
    )
    return Run(
        options=Options(),
        recordings=recordings,
        judgements=judgements,
        baselines=baselines,
        notes=notes,
        command=" ".join(("pytest", *ARGV)),
        reproduce=partial(commands.reproduce, ARGV),
        save=partial(commands.save, ARGV),
    )


def _baseline(cell: Cell, samples: int) -> Baseline:
    environment = replace(
        make_environment(driver="570.86.10", torch="2.11.0"), noted={"host": "node-0", "kernel": "6.1"}
    )
    return make_baseline(*(_recording(cell, environment, index + 100, samples, 1.0) for index in range(STORED)))


def _recording(cell: Cell, environment: Environment, session: int, samples: int, factor: float) -> Recording:
    name, length = cell.strategy, cell.workload.prompt_tokens
    draw = np.random.default_rng([session, length, len(name)])
    level = factor * float(np.exp(draw.normal(0, 0.004)))
    ttft = TTFT_MS.get(name, 20.0) * (1 + 0.0006 * length) * level
    tpot = 0.55 * TTFT_MS.get(name, 20.0) * (1 + 0.0001 * length) * level
    return Recording(
        cell=cell,
        environment=environment,
        session=session % 100,
        started_at=f"2026-01-02T03:{session % 60:02}:05Z",
        startup=(
            StartupPhase(name="load", duration_ns=5 * NS_PER_S),
            StartupPhase(name="compile", duration_ns=round((STARTUP_S.get(name, 6.0) - 5) * NS_PER_S)),
        ),
        memory=Memory(weights=13 * 2**30, peak_reserved=round(MEMORY_GIB.get(name, 13.0) * 2**30)),
        evidence=Evidence(graphs_captured=9, notes=("attention: sdpa",)),
        warmups=tuple(make_sample(Phase.PREFILL, 1, ttft_ms=ttft * f) for f in (8.0, 2.0, 1.1)),
        samples=_samples(cell, draw, samples, ttft, tpot),
        set_aside=(make_sample(Phase.PREFILL, 1, ttft_ms=ttft * 1.9),) if session == 1 else (),
        roofline=Roofline(
            limits=Limits(reading=Rate(measured=3.06e12, ceiling=3.4e12), computing=Rate(measured=8e14, ceiling=9e14)),
            work=ModelWork(weight_bytes=13 * 10**9, token_flops=13 * 10**9, head_flops=26 * 10**7),
        ),
        sampling=SamplingCheck(draws=64, passage=Passage(before="def find(", text="self, target):\n    return 1")),
    )


def _samples(cell: Cell, draw: np.random.Generator, count: int, ttft: float, tpot: float) -> tuple[Sample, ...]:
    spread = np.exp(draw.normal(0, 0.012, count)) + draw.exponential(0.006, count)
    spread[draw.integers(0, count, 2)] *= 1.6
    prefills = [make_sample(Phase.PREFILL, 1, ttft_ms=ttft * f, block=i // 20) for i, f in enumerate(spread.tolist())]
    steps = np.exp(draw.normal(0, 0.006, max(10, count // 10))).tolist()
    whole = [
        make_sample(Phase.DECODE, cell.workload.output_tokens, ttft_ms=ttft * f, tpot_ms=tpot * f, block=i // 20)
        for i, f in enumerate(steps)
    ]
    return (*prefills, *whole)
