"""What a whole suite's verdicts cost: 240 gates, 10 baseline and 10 candidate sessions each, 1,000 samples a session.

python docs/benchmarks/judge_speed.py [RUNS]      lists of Python floats, `fit_noise` included
"""

import platform
import sys
import time

import numpy as np

from perfsuite import fit_noise, judge

CELLS, BASELINE, CANDIDATE, SAMPLES = 60, 10, 10, 1000
METRICS = ("median", "mean", "p95", "p99")

Sessions = list[list[float]]


def drawn(draw: np.random.Generator, sessions: int) -> Sessions:
    levels = 0.004 * draw.standard_normal((sessions, 1))
    times: Sessions = (10 * np.exp(levels + 0.02 * draw.standard_normal((sessions, SAMPLES)))).tolist()
    return times


def seconds(cells: list[tuple[Sessions, Sessions]]) -> float:
    began = time.perf_counter()
    for metric in METRICS:
        noise = fit_noise([baseline for baseline, _ in cells], metric)
        for baseline, candidate in cells:
            judge(baseline, candidate, metric=metric, noise=noise, gates=len(METRICS) * CELLS)
    return time.perf_counter() - began


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    draw = np.random.default_rng(1)
    cells = [(drawn(draw, BASELINE), drawn(draw, CANDIDATE)) for _ in range(CELLS)]
    taken = sorted(seconds(cells) for _ in range(runs))
    sys.stdout.write(
        f"{len(METRICS) * CELLS} gates x ({BASELINE} + {CANDIDATE}) sessions x {SAMPLES} samples: "
        f"median of {runs} runs {taken[runs // 2]:.2f} s, {taken[0]:.2f} to {taken[-1]:.2f} s "
        f"(Python {platform.python_version()}, numpy {np.__version__})\n"
    )


if __name__ == "__main__":
    main()
