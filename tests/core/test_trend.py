"""Levels over runs."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from perfsuite.core.trend import Point, Sighting, differing, points


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


def test_what_else_changed_between_two_runs_is_told_by_its_key() -> None:
    before, after = series([40.0, 41.0], ["2.11", "2.13"])
    assert differing(before, after) == ("torch 2.11 -> 2.13",)
    assert differing(before, before) == ()
