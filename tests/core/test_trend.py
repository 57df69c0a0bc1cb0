"""Levels over runs, and where they change."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from perfsuite.core.trend import Point, Sighting, points, steps


def sighting(run: str, value: float, at: str = "2026-01-01T00:00:00Z") -> Sighting:
    return Sighting(run=run, started_at=at, commit=f"commit of {run}", value=value, environment={})


def series(levels: Sequence[float], torch: Sequence[str] | None = None) -> tuple[Point, ...]:
    return tuple(
        Point(
            run=f"r{index}",
            started_at=f"2026-01-01T00:{index:02}:00Z",
            commit="abc",
            level=level,
            sessions=1,
            environment={"torch": torch[index]} if torch else {},
        )
        for index, level in enumerate(levels)
    )


def noisy(levels: Sequence[float], seed: int = 0, noise: float = 0.003) -> list[float]:
    draw = np.random.default_rng(seed)
    return [level * math.exp(noise * draw.standard_normal()) for level in levels]


def test_a_run_is_the_geometric_mean_of_its_sessions_at_the_time_of_the_first() -> None:
    late, early = sighting("b", 8.0, "2026-01-03"), sighting("b", 2.0, "2026-01-02")
    other = sighting("a", 5.0, "2026-01-04")
    found = points([other, late, early])
    assert [(point.run, point.started_at, point.sessions) for point in found] == [
        ("b", "2026-01-02", 2),
        ("a", "2026-01-04", 1),
    ]
    assert found[0].level == pytest.approx(4.0)


@pytest.mark.parametrize("seed", range(5))
def test_every_change_of_level_is_found_where_it_is(seed: int) -> None:
    found = steps(series(noisy([40.0] * 12 + [42.0] * 10 + [40.8] * 10, seed)))
    assert [step.at for step in found] == [12, 22]
    assert [round(step.change, 2) for step in found] == [0.05, -0.03]


def test_noise_alone_has_no_change_in_about_every_two_hundredth_series() -> None:
    found = [steps(series(noisy([40.0] * 20, seed))) for seed in range(400)]
    assert sum(map(bool, found)) <= 8


def test_one_outlier_is_no_change_of_level() -> None:
    assert steps(series(noisy([40.0] * 10 + [80.0] + [40.0] * 9))) == ()


@pytest.mark.parametrize("count", [0, 1, 5])
def test_few_runs_have_no_change(count: int) -> None:
    assert steps(series([40.0 * 2**index for index in range(count)])) == ()


def test_what_else_changed_is_told() -> None:
    (step,) = steps(series(noisy([40.0] * 8 + [44.0] * 8), ["2.11"] * 8 + ["2.13"] * 8))
    assert step.differing == ("torch 2.11 -> 2.13",)
