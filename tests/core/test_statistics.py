"""Quantiles, their floors and intervals, and the estimate of a session, also against slow and obvious versions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, mstats

from perfsuite.core.errors import OptionError
from perfsuite.core.metrics import Statistic
from perfsuite.core.statistics import (
    UnusableSamplesError,
    harrell_davis,
    order_interval,
    quantile,
    readable,
    samples_floor,
    session_estimate,
    statistic_named,
    summarize,
)

TIMES = st.lists(st.floats(min_value=0.1, max_value=1e6), min_size=2, max_size=80)


def obvious_quantile(values: list[float], p: float) -> float:
    ordered = sorted(values)
    place = p * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def obvious_ranks(n: int, p: float, confidence: float) -> tuple[int, int] | None:
    """Zero-based places of the narrowest ends that are each missed with at most half of what the confidence leaves."""
    missed = (1 - confidence) / 2
    lows = [i for i in range(n) if sum(binom.pmf(range(i + 1), n, p)) <= missed]
    highs = [i for i in range(n) if sum(binom.pmf(range(i + 1, n + 1), n, p)) <= missed]
    return (max(lows), min(highs)) if lows and highs else None


def test_the_quantile_interpolates_linearly_between_two_values() -> None:
    assert quantile([10.0, 20.0], 0.25) == 12.5


@given(values=TIMES, p=st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
@settings(max_examples=50)
def test_the_quantile_equals_the_obvious_one(values: list[float], p: float) -> None:
    assert quantile(values, p) == pytest.approx(obvious_quantile(values, p))


@pytest.mark.parametrize("n", [1, 2, 30, 300])
@pytest.mark.parametrize("p", [0.5, 0.95, 0.99])
def test_harrell_davis_equals_scipys(n: int, p: float) -> None:
    values = np.random.default_rng(n).lognormal(size=n)
    expected = values[0] if n == 1 else mstats.hdquantiles(values, prob=[p])[0]
    assert harrell_davis(values, p) == pytest.approx(expected, rel=1e-9)


def test_harrell_davis_takes_every_row_for_itself() -> None:
    rows = np.random.default_rng(0).lognormal(size=(3, 50))
    assert harrell_davis(rows, 0.95) == pytest.approx([float(harrell_davis(row, 0.95)) for row in rows])


def test_harrell_davis_of_symmetric_values_is_their_centre() -> None:
    assert harrell_davis(np.array([3.0, 1.0, 2.0]), 0.5) == pytest.approx(2.0)


@pytest.mark.parametrize(("p", "n"), [(0.5, 5), (0.95, 59), (0.99, 299)])
def test_the_floor_is_the_smallest_n_whose_maximum_bounds_the_quantile(p: float, n: int) -> None:
    assert samples_floor(p) == n
    assert 1 - p**n >= 0.95 > 1 - p ** (n - 1)


def test_a_floor_of_99_percent_confidence_is_the_one_mlperf_uses() -> None:
    assert samples_floor(0.99, 0.99) == 459


def test_a_floor_for_an_impossible_quantile_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        samples_floor(1.0)


def test_the_interval_of_a_median_of_six_is_their_range() -> None:
    assert obvious_ranks(6, 0.5, 0.95) == (0, 5)
    interval = order_interval([5.0, 1.0, 4.0, 2.0, 6.0, 3.0], 0.5)
    assert interval is not None
    assert (interval.low, interval.high, interval.confidence) == (1.0, 6.0, 0.95)


@pytest.mark.parametrize("p", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("n", [1, 5, 6, 7, 20, 71, 72, 101, 367, 368, 400])
def test_the_interval_lies_between_the_order_statistics_that_counting_finds(n: int, p: float) -> None:
    interval = order_interval(range(n), p)
    found = None if interval is None else (int(interval.low), int(interval.high))
    assert found == obvious_ranks(n, p, 0.95)


def test_there_is_no_interval_for_the_p99_of_300() -> None:
    assert order_interval(range(300), 0.99) is None


def test_the_interval_holds_the_true_p95_in_at_least_95_of_100_cases() -> None:
    draws = np.random.default_rng(5).uniform(size=(2000, 100))
    intervals = [order_interval(row, 0.95) for row in draws]
    held = sum(interval is not None and interval.low <= 0.95 <= interval.high for interval in intervals)
    assert held >= 0.95 * len(draws)


def test_the_interval_of_values_that_come_together_holds_the_true_median_as_often() -> None:
    """Eight requests of a call that all take the same time are one sample; taken for eight, two in three miss."""
    draw = np.random.default_rng(3)
    calls = draw.normal(size=(400, 30)).repeat(8, axis=1)

    def share_of_hits(together: int) -> float:
        intervals = [order_interval(row, 0.5, together=together) for row in calls]
        return float(np.mean([each.low <= 0 <= each.high for each in intervals if each]))

    assert share_of_hits(8) >= 0.94
    assert share_of_hits(1) < 0.7


def test_a_tail_needs_as_many_calls_however_many_requests_each_has() -> None:
    few = summarize(range(1, 8 * 58 + 1), together=8)
    assert (few.count, few.p95.value, few.p95.missing) == (8 * 58, None, 1)
    assert summarize(range(1, 8 * 59 + 1), together=8).p95.value is not None


def test_a_summary_counts_the_samples_a_tail_lacks() -> None:
    summary = summarize([float(value) for value in range(1, 51)])
    assert (summary.count, summary.mean, summary.minimum, summary.maximum) == (50, 25.5, 1.0, 50.0)
    assert summary.p50.value == 25.5
    assert (summary.p95.value, summary.p95.missing) == (None, 9)
    assert (summary.p99.value, summary.p99.missing) == (None, 249)


def test_a_summary_at_the_floor_has_the_tail_but_no_two_sided_interval() -> None:
    summary = summarize(range(59))
    assert (summary.p95.missing, summary.p95.interval) == (0, None)
    assert summary.p95.value == pytest.approx(0.95 * 58)


def test_a_summary_of_one_value_has_no_deviation_and_no_interval() -> None:
    summary = summarize([7.0])
    assert (summary.p50.value, summary.std, summary.p50.interval, summary.p50.missing) == (7.0, None, None, 0)


def test_the_deviation_has_one_below_the_count_under_it() -> None:
    assert summarize([1.0, 3.0]).std == pytest.approx(math.sqrt(2))


def test_a_summary_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        summarize([])


def test_a_session_counts_for_the_logarithm_of_its_median_or_mean() -> None:
    assert session_estimate([1.0, 2.0, 30.0], Statistic.P50) == pytest.approx(math.log(2))
    assert session_estimate([1.0, 2.0, 30.0], Statistic.MEAN) == pytest.approx(math.log(11))


@pytest.mark.parametrize("statistic", [Statistic.P95, Statistic.P99])
def test_a_tail_of_a_session_is_harrell_davis_on_the_logarithms(statistic: Statistic) -> None:
    values = np.random.default_rng(2).lognormal(size=300)
    expected = mstats.hdquantiles(np.log(values), prob=[statistic.probability])[0]
    assert session_estimate(values, statistic) == pytest.approx(expected)


@pytest.mark.parametrize("statistic", list(Statistic))
def test_a_session_that_takes_twice_as_long_counts_for_log_2_more(statistic: Statistic) -> None:
    values = np.random.default_rng(3).lognormal(size=100)
    difference = session_estimate(2 * values, statistic) - session_estimate(values, statistic)
    assert difference == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("values", "finding"),
    [
        ([], "no samples"),
        ([1.0, float("nan")], "sample 2 of 2 is nan"),
        ([1.0, float("inf")], "sample 2 of 2 is inf"),
        ([0, 5], "sample 1 of 2 is 0"),
        ([3.0, -1.0], "sample 2 of 2 is -1"),
        ([4.0, 4.0, 4.0], "all 3 samples are 4: the clock does not tick"),
        (["1.0", "2.0"], "not a list of numbers"),
        ([1.0, None], "not a list of numbers"),
        ([True, False], "not a list of numbers"),
        ([[1.0], [2.0]], "not a list of numbers"),
        ([1.0, [2.0]], "not a list of numbers"),
        (5, "not a list of numbers"),
    ],
)
def test_samples_that_cannot_be_times_are_refused_by_name(values: object, finding: str) -> None:
    with pytest.raises(UnusableSamplesError, match=finding):
        readable(values)  # type: ignore[arg-type]


def test_the_median_is_also_called_p50() -> None:
    assert statistic_named("median") is statistic_named("p50") is Statistic.P50


def test_an_unknown_statistic_is_refused_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match=r"'p90' is not a statistic; choose from mean, median, p50, p95, p99"):
        statistic_named("p90")


@pytest.mark.parametrize("jump", [1001.0, 1e9, 0.9e-5, 1e-9])
def test_a_sample_out_of_all_proportion_to_its_session_is_refused_with_its_place(jump: float) -> None:
    with pytest.raises(UnusableSamplesError, match=r"^sample 2 of 5 is .*the clock jumped"):
        readable([1.0, jump, 1.0, 1.01, 0.99])


@pytest.mark.parametrize("slow", [999.0, 1.1e-5])
def test_a_sample_up_to_a_thousand_times_its_sessions_median_is_kept(slow: float) -> None:
    assert readable([1.0, slow, 1.0, 1.01, 0.99]).max() == max(slow, 1.01)
