"""Where the level of a trend changes, and where only noise moves it."""

import builtins
import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ruptures")

from perfsuite.core.errors import OptionError
from perfsuite.core.trend import NEEDED_GAIN
from perfsuite.history.changes import noise_of, steps
from tests.core.test_trend import noisy, series


@pytest.mark.parametrize("seed", range(5))
def test_every_change_of_level_is_found_where_it_is(seed: int) -> None:
    found = steps(series(noisy([40.0] * 12 + [42.0] * 10 + [40.8] * 10, seed)))
    assert [step.at for step in found] == [12, 22]
    assert [round(step.change, 2) for step in found] == [0.05, -0.03]
    assert all(step.gain > NEEDED_GAIN for step in found)


def test_levels_that_come_back_are_all_found() -> None:
    found = steps(series(noisy([40.0] * 8 + [44.0] * 8 + [40.0] * 8 + [44.0] * 8)))
    assert [step.at for step in found] == [8, 16, 24]


def test_three_runs_make_a_level() -> None:
    assert [step.at for step in steps(series(noisy([40.0] * 20 + [42.0] * 3)))] == [20]
    assert steps(series(noisy([40.0] * 20 + [42.0]))) == ()


def test_noise_alone_has_a_change_in_less_than_every_hundredth_series() -> None:
    """docs/benchmarks/trend.md has the rates; these series are always the same."""
    found = [steps(series(noisy([40.0] * 20, seed))) for seed in range(400)]
    assert sum(map(bool, found)) <= 4


def test_one_outlier_is_no_change_of_level() -> None:
    assert steps(series(noisy([40.0] * 10 + [80.0] + [40.0] * 9))) == ()


@pytest.mark.parametrize("count", [0, 1, 7])
def test_few_runs_have_no_change(count: int) -> None:
    assert steps(series([40.0 * 2**index for index in range(count)])) == ()


def test_levels_without_noise_change_where_they_change() -> None:
    assert steps(series([76.0] * 20)) == ()
    (step,) = steps(series([76.0] * 10 + [77.0] * 10))
    assert (step.at, round(step.change, 4)) == (10, 0.0132)


def test_what_else_changed_is_told() -> None:
    (step,) = steps(series(noisy([40.0] * 8 + [44.0] * 8), ["2.11"] * 8 + ["2.13"] * 8))
    assert step.differing == ("torch 2.11 -> 2.13",)


def test_the_noise_is_that_of_runs_not_of_changes() -> None:
    draw = np.random.default_rng(0)
    levels = draw.normal(0, 0.01, 2000)
    levels[1000:] += 1.0
    assert noise_of(levels) == pytest.approx(0.01, rel=0.1)
    assert noise_of(np.array([math.log(40.0)] * 9)) == 0


def test_without_ruptures_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **others: Any) -> Any:
        if name == "ruptures":
            raise ImportError(name)
        return real(name, *rest, **others)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(OptionError, match=r"changes of level: need ruptures; pip install 'perfsuite\[history\]'"):
        steps(series(noisy([40.0] * 10)))
