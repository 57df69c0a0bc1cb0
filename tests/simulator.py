"""Owns made-up sessions of GPU latency: suites of cells with noise of known size and shape, and known regressions.

It knows the gate only by its two public functions. Nothing in it was fitted to what the gate does well.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from perfsuite import Noise, Verdict, fit_noise, judge

Array: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]
Regression: TypeAlias = Callable[[Array, np.random.Generator], Array]

BLOCK = 20
"""Samples taken in a row; the autocorrelation starts anew with every block."""
TOLERANCES = {"median": 0.05, "mean": 0.05, "p95": 0.10, "p99": 0.10}


class Law(Enum):
    """How the sessions of a cell scatter around its level; the cell's sd scales all of them but SKEWED's excess."""

    NORMAL = "log-normal"
    SKEWED = "one session in ten 1 to 3 % slower"
    HOST = "four sessions in ten 1.3 to 3.4 % slower, all cells of a session alike"
    HEAVY = "Student's t with 4 degrees of freedom"


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """What the cells of a suite are drawn from; pairs are ends of a log-uniform range, sds are of logarithms.

    `body` is the scatter of the samples, `memory` their lag-1 correlation inside a block (uniform), `spikes` the share
    of samples that a spike of mean size `spike_size` hits. `stepping` is the share of cells whose clock steps down: in
    one session of three up to 6 % of the samples, in a row, are 3 to 8 % slower. `common` is the share of the variance
    between sessions that all cells of a session have together.
    """

    session_sd: tuple[float, float]
    body: tuple[float, float] = (0.005, 0.02)
    memory: tuple[float, float] = (0.2, 0.7)
    spikes: tuple[float, float] = (0.0005, 0.005)
    spike_size: tuple[float, float] = (0.05, 0.3)
    stepping: float = 0.0
    law: Law = Law.NORMAL
    common: float = 0.0


LAB = Population(session_sd=(0.002, 0.006))
FLEET = Population(session_sd=(0.004, 0.012), body=(0.01, 0.03), stepping=0.2)
SHARED = Population(
    session_sd=(0.012, 0.03), body=(0.02, 0.06), spikes=(0.002, 0.02), spike_size=(0.1, 0.5), stepping=0.5
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Cells with parameters of their own, an array element each."""

    population: Population
    level: Array
    session_sd: Array
    body: Array
    memory: Array
    spikes: Array
    spike_size: Array
    steps: NDArray[np.bool_]

    def sessions(
        self, draw: np.random.Generator, count: int, n: int, *, cells: Sequence[int] | Indices | None = None
    ) -> Array:
        """`count` sessions of `n` samples of the cells (all by default) in milliseconds: (cells, count, n)."""
        chosen = np.arange(self.level.size) if cells is None else np.asarray(cells, dtype=np.int64)
        logs = self._bodies(draw, chosen, count, n)
        logs += self._effects(draw, chosen, count)[:, :, np.newaxis]
        self._add_spikes(draw, logs, chosen)
        self._add_steps(draw, logs, chosen)
        logs += np.log(self.level[chosen])[:, np.newaxis, np.newaxis]
        return np.exp(logs, out=logs)

    def _effects(self, draw: np.random.Generator, cells: Indices, count: int) -> Array:
        """What each session is slower by, as a logarithm: (cells, count)."""
        law, common = self.population.law, self.population.common
        scale = self.session_sd[cells, np.newaxis]
        own, shared = (_standard(draw, law, shape) for shape in ((cells.size, count), (1, count)))
        effects: Array = scale * (math.sqrt(1 - common) * own + math.sqrt(common) * shared)
        if law is Law.SKEWED:
            effects += np.log1p(_excess(draw, 0.1, (0.01, 0.03), (cells.size, count)))
        if law is Law.HOST:
            effects += np.log1p(_excess(draw, 0.4, (0.013, 0.034), (1, count)))
        return effects

    def _bodies(self, draw: np.random.Generator, cells: Indices, count: int, n: int) -> Array:
        """Samples around the session's level, correlated inside each block."""
        blocks = -(-n // BLOCK)
        memory = self.memory[cells, np.newaxis, np.newaxis]
        fresh = np.sqrt(1 - memory**2)
        steps = draw.standard_normal((BLOCK, cells.size, count, blocks))
        for i in range(1, BLOCK):
            steps[i] = memory * steps[i - 1] + fresh * steps[i]
        in_order = np.moveaxis(steps, 0, -1).reshape(cells.size, count, blocks * BLOCK)[:, :, :n]
        return np.asarray(in_order * self.body[cells, np.newaxis, np.newaxis])

    def _add_spikes(self, draw: np.random.Generator, logs: Array, cells: Indices) -> None:
        per_cell = logs[0].size
        for i, cell in enumerate(cells):
            where = draw.integers(per_cell, size=draw.poisson(self.spikes[cell] * per_cell))
            logs[i].reshape(-1)[where] += np.log1p(self.spike_size[cell] * draw.standard_exponential(where.size))

    def _add_steps(self, draw: np.random.Generator, logs: Array, cells: Indices) -> None:
        n = logs.shape[-1]
        for i in np.flatnonzero(self.steps[cells]):
            for session in logs[i]:
                if draw.random() < 1 / 3:
                    start, length = draw.integers(n), round(draw.uniform(0, 0.06) * n)
                    session[start : start + length] += math.log1p(draw.uniform(0.03, 0.08))


def draw_suite(population: Population, draw: np.random.Generator, cells: int = 60) -> Suite:
    def between(ends: tuple[float, float]) -> Array:
        return np.exp(draw.uniform(*np.log(ends), size=cells))

    return Suite(
        population=population,
        level=between((1.0, 100.0)),
        session_sd=between(population.session_sd),
        body=between(population.body),
        memory=draw.uniform(*population.memory, size=cells),
        spikes=between(population.spikes),
        spike_size=between(population.spike_size),
        steps=draw.random(cells) < population.stepping,
    )


def _standard(draw: np.random.Generator, law: Law, shape: tuple[int, int]) -> Array:
    """Centred, with variance one."""
    return draw.standard_t(4, shape) / math.sqrt(2) if law is Law.HEAVY else draw.standard_normal(shape)


def _excess(draw: np.random.Generator, share: float, ends: tuple[float, float], shape: tuple[int, int]) -> Array:
    return (draw.random(shape) < share) * draw.uniform(*ends, shape)


def slower(fraction: float) -> Regression:
    """Every sample slower by the fraction."""
    return lambda sessions, draw: sessions * (1 + fraction)


def stretched_tail(fraction: float, above: float) -> Regression:
    """The samples above a quantile of their session slower by the fraction."""

    def stretch(sessions: Array, draw: np.random.Generator) -> Array:
        limits = np.quantile(sessions, above, axis=-1, keepdims=True)
        return np.where(sessions > limits, sessions * (1 + fraction), sessions)

    return stretch


def slow_path(fraction: float, share: float) -> Regression:
    """A random share of the samples slower by the fraction."""
    return lambda sessions, draw: np.where(draw.random(sessions.shape) < share, sessions * (1 + fraction), sessions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a suite run is measured and judged, as the product does it."""

    metrics: tuple[str, ...] = ("median", "mean", "p95", "p99")
    n: int = 100
    cells: int = 60
    baseline_sessions: int = 8
    looks: int = 6
    gates: int = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A suite with its baseline: what is there before a candidate is measured."""

    suite: Suite
    plan: Plan
    baseline: Array
    noise: Mapping[str, Noise]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRun:
    """What became of one cell: its last verdicts by metric, what was ever called a regression, its sessions."""

    verdicts: Mapping[str, Verdict]
    failed: frozenset[str]
    sessions: int


def record_baseline(population: Population, plan: Plan, draw: np.random.Generator) -> Stored:
    suite = draw_suite(population, draw, plan.cells)
    baseline = suite.sessions(draw, plan.baseline_sessions, plan.n)
    noise = {metric: fit_noise(list(baseline), metric) for metric in plan.metrics}
    return Stored(suite=suite, plan=plan, baseline=baseline, noise=noise)


def judge_cell(stored: Stored, cell: int, candidate: Array, metrics: Sequence[str] | None = None) -> CellRun:
    plan = stored.plan
    verdicts = {
        metric: judge(
            stored.baseline[cell],  # type: ignore[arg-type]
            candidate,  # type: ignore[arg-type]
            metric=metric,
            tolerance=TOLERANCES[metric],
            noise=stored.noise[metric],
            gates=plan.gates,
            looks=plan.looks,
        )
        for metric in metrics or plan.metrics
    }
    failed = frozenset(metric for metric, verdict in verdicts.items() if verdict.outcome.fails)
    return CellRun(verdicts=verdicts, failed=failed, sessions=len(candidate))


def run_suite(
    stored: Stored,
    draw: np.random.Generator,
    *,
    cells: Sequence[int] | None = None,
    regression: Regression | None = None,
    metrics: Sequence[str] | None = None,
) -> tuple[dict[int, CellRun], Array]:
    """The candidate of every cell, with further sessions where they may help; also the first session of each."""
    plan, suite = stored.plan, stored.suite
    change = regression or (lambda sessions, _: sessions)
    chosen = list(range(plan.cells)) if cells is None else list(cells)
    first = change(suite.sessions(draw, 1, plan.n, cells=chosen), draw)
    measured = dict(zip(chosen, first, strict=True))
    runs = {cell: judge_cell(stored, cell, sessions, metrics) for cell, sessions in measured.items()}
    for _ in range(1, plan.looks):
        undecided = [cell for cell in chosen if any(v.sessions_help for v in runs[cell].verdicts.values())]
        if not undecided:
            break
        more = change(suite.sessions(draw, 1, plan.n, cells=undecided), draw)
        for cell, session in zip(undecided, more, strict=True):
            measured[cell] = np.concatenate([measured[cell], session])
            again = judge_cell(stored, cell, measured[cell], metrics)
            runs[cell] = replace(again, failed=again.failed | runs[cell].failed)
    return runs, first
