"""How many rounds decide a twin run, by how much its sessions differ: python docs/benchmarks/twin_rounds.py

Every session's ratio is its own level (normal logarithm, a standard deviation per row) times 200 ratios of 8 % scatter;
rounds go on from the third as in a run, at a tolerance of 5 %.
"""

import sys
from collections import Counter

import numpy as np

from perfsuite.core.gate import judge
from perfsuite.core.verdict import Outcome

RUNS, RATIOS, SCATTER = 300, 200, 0.08


def outcome(draw: np.random.Generator, slowdown: float, spread: float, limit: int) -> tuple[Outcome, int]:
    """What one run says, and after how many rounds."""
    same: list[list[float]] = []
    changed: list[list[float]] = []
    for rounds in range(1, limit + 1):
        for sessions, level in ((same, 0.0), (changed, np.log1p(slowdown))):
            sessions.append(list(np.exp(level + draw.normal(0, spread) + draw.normal(0, SCATTER, RATIOS))))
        if rounds < 3:
            continue
        verdict = judge(same, changed, metric="median", tolerance=0.05, looks=limit, in_turns=True)
        if verdict.outcome is not Outcome.INCONCLUSIVE:
            return verdict.outcome, rounds
    return Outcome.INCONCLUSIVE, limit


def main() -> None:
    sys.stdout.write(
        "| sessions differ by | at most | slowdown | passed | regressed | open | rounds, mean |\n|" + "---|" * 7
    )
    for spread in (0.010, 0.013):
        for limit in (6, 12):
            for slowdown in (0.0, 0.05, 0.08):
                draw = np.random.default_rng(1)
                found = [outcome(draw, slowdown, spread, limit) for _ in range(RUNS)]
                counts = Counter(word for word, _ in found)
                mean = np.mean([rounds for _, rounds in found])
                told = (counts[each] for each in (Outcome.PASSED, Outcome.REGRESSED, Outcome.INCONCLUSIVE))
                shares = " | ".join(map(str, told))
                sys.stdout.write(f"\n| {spread:.1%} | {limit} | {slowdown:.0%} | {shares} | {mean:.1f} |")
                sys.stdout.flush()
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
