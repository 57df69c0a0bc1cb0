"""How often `perfsuite trend` marks a change where there is none, and how often it finds one: writes trend.md.

python docs/benchmarks/trend.py > docs/benchmarks/trend.md
"""

import math
import sys
from collections.abc import Callable, Sequence

import numpy as np

from perfsuite.core.trend import NEEDED_GAIN, Point
from perfsuite.history.changes import steps

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Draw = Callable[[np.random.Generator, int], Array]
RUNS = (8, 12, 20, 40)
SERIES, SD = 2000, 0.01


def outliers(draw: np.random.Generator, count: int) -> Array:
    return np.asarray(draw.normal(size=count) * np.where(draw.random(count) < 0.05, 10, 1))


def moods(draw: np.random.Generator, count: int) -> Array:
    values = draw.normal(size=count)
    for index in range(1, count):
        values[index] = 0.5 * values[index - 1] + math.sqrt(0.75) * values[index]
    return np.asarray(values)


NOISES: dict[str, Draw] = {
    "normal": lambda draw, count: draw.normal(size=count),
    "Student t, 3 degrees of freedom": lambda draw, count: draw.standard_t(3, size=count) / math.sqrt(3),
    "log-normal, skewed (sd 0.5)": lambda draw, count: np.exp(draw.normal(0, 0.5, count)),
    "normal, 5 % of runs ten times as far off": outliers,
    "each run resembles the one before (correlation 0.5)": moods,
}


def points(logs: Array) -> Sequence[Point]:
    return [
        Point(run=str(i), started_at="", commit="", level=math.exp(value), sessions=1, environment={})
        for i, value in enumerate(logs)
    ]


def marked(noise: Draw, count: int) -> float:
    """The share of series without a change that have a mark."""
    draw = np.random.default_rng(count)
    return sum(bool(steps(points(SD * noise(draw, count)))) for _ in range(SERIES)) / SERIES


def found(change: float, after: int, count: int = 20) -> float:
    """The share of series of normal noise whose last `after` runs lie higher and are marked, one run off at most."""
    draw = np.random.default_rng(after)
    step = np.where(np.arange(count) >= count - after, math.log1p(change), 0.0)
    hits = 0
    for _ in range(SERIES // 4):
        places = [each.at for each in steps(points(SD * draw.normal(size=count) + step))]
        hits += any(abs(place - (count - after)) <= 1 for place in places)
    return hits / (SERIES // 4)


def main() -> None:
    write = sys.stdout.write
    write("# Changes of level in a trend\n\n")
    write(f"`python docs/benchmarks/trend.py > docs/benchmarks/trend.md`: {SERIES} series each, needed evidence ")
    write(f"{NEEDED_GAIN:g}. How it works: [history.md](../history.md).\n\n")
    write("Share of series without any change in which one is marked:\n\n")
    write(f"| noise of a run | {' | '.join(f'{count} runs' for count in RUNS)} |\n")
    write(f"|---|{'--:|' * len(RUNS)}\n")
    for name, noise in NOISES.items():
        write(f"| {name} | {' | '.join(f'{100 * marked(noise, count):.2f} %' for count in RUNS)} |\n")
    write("\nThe last row is no noise that it is built for: machines that keep a mood over nights look ")
    write("like changes.\n\n")
    write("Share of series of 20 runs, 1 % normal noise, in which a change of so much since so many runs is marked ")
    write("within one run of its place:\n\n")
    changes, lengths = (0.02, 0.03, 0.05), (3, 5, 10)
    write(f"| change | {' | '.join(f'{length} runs ago' for length in lengths)} |\n|---|{'--:|' * len(lengths)}\n")
    for change in changes:
        write(f"| {100 * change:g} % | {' | '.join(f'{100 * found(change, n):.0f} %' for n in lengths)} |\n")


if __name__ == "__main__":
    main()
