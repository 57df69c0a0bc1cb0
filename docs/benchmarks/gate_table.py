"""How often the gate is wrong, on simulated suites: the table of docs/benchmarks/gate.md, as Markdown.

python -m docs.benchmarks.gate_table [SHARE]      from the root of the repository; SHARE of the runs, 1 by default
"""

import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import scipy
from scipy.stats import beta, mannwhitneyu

from perfsuite import Outcome
from tests.simulator import (
    FLEET,
    LAB,
    SHARED,
    Array,
    CellRun,
    Law,
    Plan,
    Population,
    Regression,
    Stored,
    record_baseline,
    run_suite,
    slow_path,
    slower,
    stretched_tail,
)

SEED = 20261121
NAIVE_RUNS = 300
"""Runs of a row on which the naive gates are tried too."""
MEDIAN = ("median",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A regression put into one cell of every run, and the metric that ought to find it."""

    name: str
    metric: str
    regression: Regression


FIVE = Change(name="median +5 %", metric="median", regression=slower(0.05))
TEN = Change(name="median +10 %", metric="median", regression=slower(0.10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    population: Population
    runs: int
    plan: Plan = field(default_factory=Plan)
    changes: tuple[Change, ...] = (FIVE,)


def tail(metric: str, above: float) -> Change:
    name = f"{metric.upper()}: all above P{100 * above:g} +10 %"
    return Change(name=name, metric=metric, regression=stretched_tail(0.10, above))


SLOW_PATH = Change(name="P99: 2 % of samples +20 %", metric="p99", regression=slow_path(0.20, 0.02))
P95_CHANGES = (tail("p95", 0.90), tail("p95", 0.94), tail("p95", 0.95))
P99_CHANGES = (tail("p99", 0.97), SLOW_PATH, tail("p99", 0.99))
ONE = Plan(metrics=MEDIAN)

TARGETS = (
    Row(name="session sd 0.2-0.6 %, n = 100", population=LAB, runs=3000, changes=(FIVE, TEN)),
    Row(name="session sd 0.4-1.2 %, n = 100", population=FLEET, runs=3000, changes=(FIVE, TEN)),
    Row(name="sd 0.2-0.6 %, n = 300", population=LAB, runs=600, plan=Plan(n=300), changes=P95_CHANGES),
    Row(name="sd 0.4-1.2 %, n = 300", population=FLEET, runs=600, plan=Plan(n=300), changes=P95_CHANGES),
    Row(name="sd 0.2-0.6 %, n = 1,000", population=LAB, runs=600, plan=Plan(n=1000), changes=P99_CHANGES),
    Row(name="shared host, sd 1.2-3 %, n = 100", population=SHARED, runs=900, changes=(FIVE, TEN)),
)
SHAPES = tuple(
    Row(name=f"{where}: {shape}", population=replace(population, **changed), runs=600, plan=ONE)
    for where, population in (("sd 0.2-0.6 %", LAB), ("sd 0.4-1.2 %", FLEET))
    for shape, changed in (
        *((law.value, {"law": law}) for law in (Law.HEAVY, Law.SKEWED, Law.HOST)),
        ("nine tenths of the session variance common to all cells", {"common": 0.9}),
    )
)
SIZES = tuple(
    Row(name=f"sd 0.4-1.2 %: {name}", population=FLEET, runs=600, plan=replace(ONE, **changed))
    for name, changed in (
        ("5 baseline sessions", {"baseline_sessions": 5}),
        ("20 baseline sessions", {"baseline_sessions": 20}),
        ("12 cells, 48 gates", {"cells": 12, "gates": 48}),
        ("9 cells, 36 gates (no prior)", {"cells": 9, "gates": 36}),
        ("1 cell, 1 gate (no prior)", {"cells": 1, "gates": 1}),
    )
)


@dataclass(slots=True)
class Counts:
    """What was found in the runs of one row."""

    runs: int = 0
    false_red: int = 0
    sessions: int = 0
    verdicts: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    found: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    sessions_to_find: Counter[str] = field(default_factory=Counter)
    naive_runs: int = 0
    naive_red: Counter[str] = field(default_factory=Counter)
    naive_found: Counter[str] = field(default_factory=Counter)

    def add(self, cells: Mapping[int, CellRun]) -> None:
        self.runs += 1
        self.false_red += any(cell.failed for cell in cells.values())
        self.sessions += sum(cell.sessions for cell in cells.values())
        self.verdicts.update((m, verdict.outcome) for cell in cells.values() for m, verdict in cell.verdicts.items())


def naive_gates(stored: Array, candidate: Array) -> dict[str, Array]:
    """What each says of every cell: sessions (cells, sessions, n) against one candidate session (cells, n)."""
    last = stored[:, -1]
    pooled = stored.reshape(len(stored), -1)
    return {
        "mean:5%": candidate.mean(axis=1) > 1.05 * last.mean(axis=1),
        "median:5%": np.median(candidate, axis=1) > 1.05 * np.median(last, axis=1),
        "Mann-Whitney 0.05": mannwhitneyu(candidate, pooled, alternative="greater", axis=1, method="asymptotic").pvalue
        < 0.05,
        "np.percentile P99 +10 %": np.percentile(candidate, 99, axis=1) > 1.10 * np.percentile(last, 99, axis=1),
    }


def count(row: Row, number: int, share: float) -> Counts:
    counts = Counts()
    for run in range(max(1, round(share * row.runs))):
        draw = np.random.default_rng([SEED, number, run])
        stored = record_baseline(row.population, row.plan, draw)
        cells, first = run_suite(stored, draw)
        counts.add(cells)
        if run < NAIVE_RUNS:
            counts.naive_runs += 1
            counts.naive_red.update(
                name for name, red in naive_gates(stored.baseline, first[:, 0]).items() if red.any()
            )
        for change in row.changes:
            _try_to_find(change, stored, draw, counts, naive=run < NAIVE_RUNS and change is row.changes[0])
    return counts


def _try_to_find(change: Change, stored: Stored, draw: np.random.Generator, counts: Counts, *, naive: bool) -> None:
    cell = int(draw.integers(stored.plan.cells))
    runs, first = run_suite(stored, draw, cells=[cell], regression=change.regression, metrics=[change.metric])
    counts.found[change.name, runs[cell].verdicts[change.metric].outcome] += 1
    counts.sessions_to_find[change.name] += runs[cell].sessions
    if naive:
        said = naive_gates(stored.baseline[[cell]], first[:, 0])
        counts.naive_found.update(name for name, red in said.items() if red[0])


def bound(hits: int, n: int, *, upper: bool) -> float:
    """The one-sided 95 % bound of a share (Clopper and Pearson 1934)."""
    if upper:
        return 1.0 if hits == n else float(beta.ppf(0.95, hits + 1, n - hits))
    return 0.0 if hits == 0 else float(beta.ppf(0.05, hits, n - hits + 1))


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def gate_lines(row: Row, counts: Counts) -> Iterator[str]:
    limit = percent(bound(counts.false_red, counts.runs, upper=True))
    per_cell = counts.sessions / counts.runs / row.plan.cells
    same = f"{counts.false_red} of {counts.runs:,} (< {limit}) | {per_cell:.2f}"
    for change in row.changes:
        n = counts.runs
        found, missed, open_ = (
            counts.found[change.name, outcome] for outcome in (Outcome.REGRESSED, Outcome.PASSED, Outcome.INCONCLUSIVE)
        )
        least = percent(bound(found, n, upper=False))
        spent = counts.sessions_to_find[change.name] / n
        yield (
            f"| {row.name} | {same} | {change.name} | {percent(found / n)} (> {least}) | {percent(open_ / n)} "
            f"| {percent(missed / n)} | {spent:.2f} |"
        )
        row, same = replace(row, name=""), " | "


def open_line(row: Row, counts: Counts) -> str:
    shares = (
        percent(counts.verdicts[metric, Outcome.INCONCLUSIVE] / counts.runs / row.plan.cells)
        for metric in ("median", "mean", "p95", "p99")
    )
    return f"| {row.name} | {' | '.join(shares)} |"


def naive_line(row: Row, counts: Counts) -> str:
    n = counts.naive_runs
    pairs = (f"{percent(counts.naive_red[name] / n)}, {percent(counts.naive_found[name] / n)}" for name in NAIVE)
    return f"| {row.name}; {row.changes[0].name} | {' | '.join(pairs)} |"


NAIVE = ("mean:5%", "median:5%", "Mann-Whitney 0.05", "np.percentile P99 +10 %")
GATE_HEAD = (
    "| suite | false red, suite runs (95 % bound) | sessions a cell | slower by | found (95 % bound) "
    "| inconclusive | silent pass | sessions |\n|---|---|---|---|---|---|---|---|"
)


def refusals(share: float) -> str:
    plan = Plan(metrics=("p99",))
    said: Counter[tuple[Outcome, str]] = Counter()
    for run in range(max(1, round(50 * share))):
        draw = np.random.default_rng([SEED, 99, run])
        runs, _ = run_suite(record_baseline(LAB, plan, draw), draw, regression=stretched_tail(0.10, 0.95))
        said.update((cell.verdicts["p99"].outcome, cell.verdicts["p99"].remedy) for cell in runs.values())
    lines = (f'{outcome.value}, "{remedy}": {times:,}' for (outcome, remedy), times in said.items())
    return f"P99 +10 % with 100 samples a session, {said.total():,} cells: " + "; ".join(lines)


def write(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def main() -> None:
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}"
    write(f"python -m docs.benchmarks.gate_table {share:g}; seed {SEED}; {versions}")
    number, found = 0, []
    for title, rows in (("Targets", TARGETS), ("Other noise", SHAPES), ("Other sizes", SIZES)):
        write("", f"{title}:", "", GATE_HEAD)
        for row in rows:
            counts = count(row, number, share)
            write(*gate_lines(row, counts))
            number, found = number + 1, [*found, (row, counts)]
    write("", refusals(share))
    write("", "Inconclusive on identical code:", "", "| suite | median | mean | P95 | P99 |\n|---|---|---|---|---|")
    write(*(open_line(row, counts) for row, counts in found[: len(TARGETS)]))
    write("", f"Naive gates (false red of suite runs, found), {round(share * NAIVE_RUNS)} runs:", "")
    write(f"| suite; slower by | {' | '.join(NAIVE)} |\n|---|---|---|---|---|")
    write(*(naive_line(row, counts) for row, counts in found[: len(TARGETS) + len(SHAPES)]))
    write("", f"CPU time: {time.process_time():.0f} s")


if __name__ == "__main__":
    main()
