"""Where a sequence divides best, and how often chance does as well."""

from itertools import combinations

import numpy as np
import pytest

from perfsuite.core.division import Division, divergences, divide

DRAWS = 20_000


def found(*values: float, draws: int = DRAWS) -> Division:
    (division,) = divide(np.array([values]), draws=draws)
    return division


def obvious_divergence(values: np.ndarray, at: int) -> float:
    """Matteson & James 2014, equations 5 and 6, pair by pair."""
    before, after = values[:at], values[at:]
    m, k = len(before), len(after)
    across = np.mean([abs(x - y) for x in before for y in after])
    within = [np.mean([abs(x - y) for x, y in combinations(part, 2)]) for part in (before, after)]
    return float(m * k / (m + k) * (2 * across - within[0] - within[1]))


@pytest.mark.parametrize("count", [6, 7, 12])
def test_the_divergence_is_the_energy_distance_of_the_two_parts(count: int) -> None:
    rows = np.random.default_rng(count).normal(size=(3, count))
    obvious = [[obvious_divergence(row, at) for at in range(3, count - 2)] for row in rows]
    assert divergences(rows) == pytest.approx(np.array(obvious))


def test_a_step_divides_where_it_is() -> None:
    assert found(7, 1, 5, 2, 4, 6, 3, 17, 13, 15, 16, 14).at == 7


def test_six_orders_in_a_thousand_divide_ten_values_as_sharply_as_two_halves_can() -> None:
    """2 of the 252 ways to choose the first half: 0.0079."""
    assert found(1, 2, 3, 4, 5, 10, 9, 8, 7, 6).chance == pytest.approx(2 / 252, rel=0.2)


def test_a_level_that_came_back_divides_no_better_than_chance() -> None:
    assert found(1, 2, 3, 4, 15, 14, 13, 12, 3.5, 2.5, 1.5, 0.5).chance > 0.05


def test_an_outlier_counts_no_more_than_being_the_last() -> None:
    calm, wild = (found(4, 2, 6, 1, 3, 5, 8, 7, 10, 9, last) for last in (11, 1e9))
    assert calm == wild


def test_equal_values_do_not_divide() -> None:
    assert found(*[3.0] * 12).chance > 0.5


def test_the_same_numbers_always_give_the_same_answer() -> None:
    values = np.random.default_rng(1).normal(size=15)
    assert found(*values) == found(*values)


def test_chance_is_never_none_at_all() -> None:
    assert found(*range(40), draws=999).chance == 1 / 1000


def test_rows_are_divided_each_by_itself() -> None:
    rows = np.random.default_rng(2).normal(size=(4, 11))
    assert divide(rows, draws=999) == tuple(found(*row, draws=999) for row in rows)


def test_chances_of_random_orders_are_even() -> None:
    """A share p of them, or less, is at most p."""
    chances = [each.chance for each in divide(np.random.default_rng(3).normal(size=(4000, 14)), draws=DRAWS)]
    assert [np.mean(np.array(chances) <= p) for p in (0.5, 0.1, 0.01)] == pytest.approx([0.5, 0.1, 0.01], rel=0.25)
