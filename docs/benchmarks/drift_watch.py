"""How often the watch on slow drift warns: python -m docs.benchmarks.drift_watch [RUNS], from the repository's root.

Simulated suites of 60 cells and 6 metrics over 22 days (tests/past.py); sessions differ by 0.8 %.
"""

import sys
from collections.abc import Callable
from functools import partial

import numpy as np

from perfsuite.core.drift import drifts
from tests import past

MEMORIES = (0.3, 0.5, 0.8)
STEPS = ((0.02, 3, 60), (0.02, 4, 60), (0.02, 5, 60), (0.02, 8, 1), (0.02, 10, 1), (0.03, 8, 1), (0.03, 10, 1))
"""How much slower, for how many days, in how many cells."""


def warned(made: Callable[[np.random.Generator], past.Array], runs: int) -> str:
    """'3 of 1,000 runs'."""
    draws = (np.random.default_rng([seed, 1]) for seed in range(runs))
    return f"{sum(bool(drifts(past.suite(made(draw)))) for draw in draws):,} of {runs:,} runs"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Print what warned where nothing drifted, then where something did."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for name, made in past.STEADY.items():
        say(f"{name}: {warned(made, runs)}")
    for memory in MEMORIES:
        made = partial(past.moods, memory=memory)
        say(f"days that resemble the day before by {memory}: {warned(made, runs // 2)}")
    for size, days, cells in STEPS:
        made = partial(past.slower, size=size, days=days, cells=cells)
        say(f"{100 * size:g} % since {days} days, cells slower {cells}: {warned(made, runs // 10)}")


if __name__ == "__main__":
    main()
