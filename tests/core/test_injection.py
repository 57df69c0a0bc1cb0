"""Known slowdowns: which samples get slower, and by how much."""

import numpy as np
import pytest

from perfsuite.core.injection import INJECTIONS, NONE, SLOW_PATH, STRETCHED_TAIL, uniform

TIMES = np.arange(1.0, 101.0)


def factors_of(injection: object, seed: int = 0) -> np.ndarray:
    return injection.factors(TIMES, np.random.default_rng(seed))  # type: ignore[attr-defined]


def test_nothing_changes_nothing() -> None:
    assert factors_of(NONE).tolist() == [1.0] * 100
    assert NONE is INJECTIONS[0]


def test_a_uniform_slowdown_is_the_same_for_every_sample_and_named_by_its_size() -> None:
    assert factors_of(uniform(0.05)) == pytest.approx(np.full(100, 1.05))
    assert uniform(0.05).name == "+5 %"


def test_a_slow_path_doubles_two_samples_of_a_hundred_drawn_by_the_seed() -> None:
    first = factors_of(SLOW_PATH, seed=1)
    assert sorted(first)[-3:] == [1.0, 2.0, 2.0]
    assert first.tolist() == factors_of(SLOW_PATH, seed=1).tolist() != factors_of(SLOW_PATH, seed=2).tolist()


def test_a_stretched_tail_is_the_slowest_tenth() -> None:
    assert factors_of(STRETCHED_TAIL).tolist() == [1.0] * 90 + [1.1] * 10


def test_a_stretched_tail_moves_p95_and_p99_by_its_size_and_leaves_the_median() -> None:
    slowed = TIMES * factors_of(STRETCHED_TAIL)
    moved = [np.quantile(slowed, p) / np.quantile(TIMES, p) for p in (0.5, 0.95, 0.99)]
    assert moved == pytest.approx([1.0, 1.1, 1.1])
