"""What gates say of two recordings of the same code: python docs/benchmarks/stored_sessions.py BASELINES CANDIDATES

Both are folders of one device (baselines/DEVICE), written by `pytest --save-baseline`. Every candidate session begins
one run: the gate gets that session, and the next ones (in a circle) as long as its verdict asks for more. The other
gates compare the session with the last stored one.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.stats import mannwhitneyu

from perfsuite.core.baseline import Baseline
from perfsuite.core.judgement import judge_cell, suite_noise
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import SERIES, Metric
from perfsuite.core.noise import Noise
from perfsuite.core.options import GateOptions
from perfsuite.core.recording import Recording
from perfsuite.core.verdict import Judgement, Outcome
from perfsuite.store import BaselineStore

OPTIONS = GateOptions()

Samples = tuple[float, ...]
NAIVE: dict[str, Callable[[Samples, Samples], bool]] = {
    "pytest-benchmark `--benchmark-compare-fail=mean:5%`": lambda a, b: bool(np.mean(b) > 1.05 * np.mean(a)),
    "pytest-benchmark `--benchmark-compare-fail=median:5%`": lambda a, b: bool(np.median(b) > 1.05 * np.median(a)),
    "Mann-Whitney, one-sided, p < 0.05": lambda a, b: bool(mannwhitneyu(b, a, alternative="greater").pvalue < 0.05),
    "P99 + 10 %": lambda a, b: bool(np.percentile(b, 99) > 1.10 * np.percentile(a, 99)),
}
"""Gates that compare the TTFT samples of two runs: whether they call the second one slower."""
TTFT = SERIES["ttft"]


@dataclass
class Tally:
    """What became of the gates of one strategy and metric."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    sessions: list[int] = field(default_factory=list)

    def add(self, outcome: Outcome, sessions: int) -> None:
        self.outcomes[outcome] += 1
        self.sessions.append(sessions)


def read(folder: Path) -> dict[Cell, Baseline]:
    """Every stored cell of one device, by the folder of that device."""
    return {baseline.cell: baseline for baseline in BaselineStore(folder.parent).load_all(folder.name)}


def gates_of(baselines: Iterable[Baseline]) -> int:
    """How many verdicts a run of these cells reaches."""
    return sum(
        bool(SERIES[metric.series].values(baseline.recordings[0]))
        for baseline in baselines
        for metric in OPTIONS.tolerances
    )


def judged_in_turn(
    baseline: Baseline, sessions: list[Recording], noise: dict[str, Noise], gates: int
) -> dict[Metric, tuple[Outcome, int]]:
    """The outcome of every metric, and after how many sessions it was reached."""
    reached: dict[Metric, tuple[Outcome, int]] = {}
    for count in range(1, OPTIONS.sessions + 1):
        judgement: Judgement = judge_cell(
            baseline.cell,
            baseline,
            tuple(sessions[:count]),
            tolerances=OPTIONS.tolerances,
            gates=gates,
            options=OPTIONS,
            noise=noise,
        )
        for metric in OPTIONS.tolerances:
            verdict = judgement.verdict(metric.key)
            if verdict is not None and not (metric in reached and reached[metric][0].is_decided):
                reached[metric] = (verdict.outcome, count)
        if not any(v.outcome is Outcome.INCONCLUSIVE and v.sessions_help for v in judgement.verdicts):
            break
    return reached


def main(stored: Path, measured: Path) -> None:
    """Print the tables in Markdown."""
    baselines, candidates = read(stored), read(measured)
    shared = [cell for cell in baselines if cell in candidates]
    noise = suite_noise([baselines[cell] for cell in shared], OPTIONS.tolerances)
    gates = gates_of(baselines[cell] for cell in shared)
    tallies: dict[tuple[str, str], Tally] = defaultdict(Tally)
    naive: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for cell in shared:
        sessions = list(candidates[cell].recordings)
        for start, session in enumerate(sessions):
            turn = sessions[start:] + sessions[:start]
            for metric, (outcome, count) in judged_in_turn(baselines[cell], turn, noise, gates).items():
                tallies[cell.strategy, metric.label].add(outcome, count)
            for name, is_slower in NAIVE.items():
                last, now = TTFT.values(baselines[cell].recordings[-1]), TTFT.values(session)
                naive[cell.strategy, name].append(is_slower(last, now))
    lines = [f"{gates} gates in a run", "", *_tally_lines(tallies), "", *_naive_lines(naive)]
    sys.stdout.write("\n".join(lines) + "\n")


def _tally_lines(tallies: dict[tuple[str, str], Tally]) -> list[str]:
    heads = ("strategy", "metric", "verdicts", "red", "decided", "inconclusive", "sessions, mean")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for (strategy, metric), tally in tallies.items():
        total, open_ = tally.outcomes.total(), tally.outcomes[Outcome.INCONCLUSIVE]
        red = tally.outcomes[Outcome.REGRESSED] + tally.outcomes[Outcome.INVALID]
        decided = sum(count for outcome, count in tally.outcomes.items() if outcome.is_decided)
        cells = (
            strategy,
            metric,
            total,
            red,
            f"{100 * decided / total:.0f} %",
            open_,
            f"{np.mean(tally.sessions):.2f}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _naive_lines(naive: dict[tuple[str, str], list[bool]]) -> list[str]:
    heads = ("strategy", "gate on TTFT, against the last stored session", "comparisons", "called slower")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for (strategy, name), calls in naive.items():
        lines.append(f"| {strategy} | {name} | {len(calls)} | {sum(calls)} ({100 * sum(calls) / len(calls):.0f} %) |")
    return lines


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
