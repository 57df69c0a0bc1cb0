"""The watch on slow drift warns of levels that changed and stayed, and does not cry wolf."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from perfsuite.core.drift import ACCEPTED_ERROR, LEAST_DAYS, Drift, drifts, largest_accepted
from perfsuite.core.history import History
from tests import past
from tests.past import CELLS, METRICS, STEADY, Array, starts, suite

RUNS = 300


def history(*levels: float, tolerance: float = 0.05, days: Sequence[int] | None = None) -> History:
    return History(
        cell=CELLS[0],
        metric=METRICS[0],
        tolerance=tolerance,
        estimates=levels,
        started_at=starts(range(len(levels)) if days is None else days),
    )


STEP = (0.0, 0.001, -0.001, 0.002, -0.002, 0.0015, -0.0015, 0.03, 0.029, 0.031, 0.032, 0.028, 0.0305, 0.0295)


def test_a_level_that_changed_and_stayed_is_told_with_its_day_and_size() -> None:
    (found,) = drifts([history(*STEP)])
    assert found == Drift(
        cell=CELLS[0],
        metric="ttft.p50",
        day=8,
        days=14,
        session=8,
        sessions=14,
        since="2026-01-08T08:00:00Z",
        change=found.change,
        chance=found.chance,
    )
    assert found.change == pytest.approx(math.expm1(0.03))
    assert found.chance < ACCEPTED_ERROR


def test_a_level_that_fell_is_told_as_well() -> None:
    (found,) = drifts([history(*(-level for level in STEP))])
    assert found.change == pytest.approx(math.expm1(-0.03))


def test_sessions_of_one_day_count_once() -> None:
    """Seven sessions of one day and seven of another are two days."""
    assert drifts([history(*STEP, days=[0] * 7 + [1] * 7)]) == ()
    twice = [level for level in STEP for _ in range(2)]
    (found,) = drifts([history(*twice, days=[day for day in range(14) for _ in range(2)])])
    assert (found.day, found.days, found.session, found.sessions) == (8, 14, 15, 28)


@pytest.mark.parametrize(("days", "count"), [(LEAST_DAYS, 1), (LEAST_DAYS - 1, 0)])
def test_a_history_of_few_days_is_not_watched(days: int, count: int) -> None:
    half = days // 2
    levels = [0.0001 * i for i in range(half)] + [0.03 + 0.0001 * i for i in range(days - half)]
    assert len(drifts([history(*levels)])) == count


@pytest.mark.parametrize(("tolerance", "count"), [(0.10, 1), (0.13, 0)])
def test_a_change_below_a_quarter_of_the_tolerance_is_not_worth_a_warning(tolerance: float, count: int) -> None:
    """log 1.10 / 4 is 0.024, log 1.13 / 4 is 0.0306: the step of 0.03 lies between."""
    assert len(drifts([history(*STEP, tolerance=tolerance)])) == count


def test_a_change_that_passed_by_is_no_drift() -> None:
    bump = (*STEP[:4], *STEP[7:11], *STEP[4:7], 0.0005, -0.0005, 0.0012)
    assert drifts([history(*bump)]) == ()


def test_of_a_very_long_history_the_latest_days_are_looked_at() -> None:
    calm = np.random.default_rng(4).normal(0.03, 0.001, 60)
    assert drifts([history(*STEP, *calm)]) == ()


def test_the_same_histories_always_give_the_same_warnings() -> None:
    made = suite(past.slower(np.random.default_rng(5), size=0.03, days=8, cells=60))
    assert drifts(made) == drifts(made) != ()


def test_no_histories_are_no_warning() -> None:
    assert drifts([]) == ()


@pytest.mark.parametrize(
    ("chances", "limit"),
    [((), 0.0), ((0.03, 0.2), 0.0), ((0.02, 0.9), 0.02), ((0.045, 0.04), 0.045), ((0.9, 0.01, 0.03, 0.037), 0.037)],
)
def test_chances_are_accepted_as_benjamini_and_hochberg_do(chances: tuple[float, ...], limit: float) -> None:
    """With an error of 5 % the i-th smallest of N is compared with 5 % x i / N."""
    assert largest_accepted(chances, 0.05) == limit


HARDEST = ("sessions of two machine states", "days that differ, for all cells at once")


@pytest.mark.parametrize(
    "made",
    [pytest.param(made, id=name, marks=() if name in HARDEST else pytest.mark.slow) for name, made in STEADY.items()],
)
def test_at_most_one_run_in_a_hundred_warns_where_nothing_drifted(made: Callable[[np.random.Generator], Array]) -> None:
    """60 cells of 6 metrics over 22 days."""
    warned = sum(bool(drifts(suite(made(np.random.default_rng(seed))))) for seed in range(RUNS))
    assert warned <= RUNS / 100


def share_told(size: float, days: int, cells: int, runs: int = 20) -> float:
    """Share of the runs with a warning when so many cells are slower by `size` for so many days."""
    draws = (np.random.default_rng(seed) for seed in range(runs))
    return sum(bool(drifts(suite(past.slower(draw, size=size, days=days, cells=cells)))) for draw in draws) / runs


def test_two_percent_in_all_cells_are_told_after_five_days() -> None:
    assert share_told(0.02, days=5, cells=60) == 1


def test_three_percent_in_one_cell_are_told_after_ten_days() -> None:
    assert share_told(0.03, days=10, cells=1) >= 0.9


def test_what_shows_since_three_days_only_is_not_yet_told() -> None:
    assert share_told(0.02, days=3, cells=60) <= 0.1


def test_a_tolerance_belongs_to_its_own_history() -> None:
    coarse = replace(history(*STEP, tolerance=0.5), metric=METRICS[1])
    assert [found.metric for found in drifts([coarse, history(*STEP)])] == ["ttft.p50"]
