import numpy as np
import pytest

from perfsuite.report.html.detail import detail_for, extremes, quantile_points


def test_few_cells_are_drawn_finer_than_many() -> None:
    one, many = detail_for(1), detail_for(500)
    assert (one.pooled, one.session, one.trace) > (many.pooled, many.session, many.trace)
    assert min(many.pooled, many.session, many.trace, many.sessions) > 0


def test_a_short_trace_is_drawn_sample_by_sample() -> None:
    assert extremes([3.0, 1.0, 2.0], 10) == [(0, 3.0), (1, 1.0), (2, 2.0)]


def test_no_peak_is_lost_in_a_long_trace() -> None:
    values = [1.0] * 1000
    values[617], values[300] = 9.0, 0.1
    kept = extremes(values, 40)
    assert len(kept) <= 40
    assert (617, 9.0) in kept
    assert (300, 0.1) in kept
    assert [index for index, _ in kept] == sorted(index for index, _ in kept)


def test_a_distribution_goes_from_the_least_to_the_largest_value() -> None:
    values = np.random.default_rng(0).normal(40, 2, 500).tolist()
    points = quantile_points(values, 30)
    assert len(points) == 30
    assert points[0] == (min(values), pytest.approx(1 / 500))
    assert points[-1] == (max(values), 1.0)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_few_values_every_one_is_a_point(count: int) -> None:
    points = quantile_points([float(v) for v in range(count)], 50)
    assert {x for x, _ in points} == {float(v) for v in range(count)}
