"""The noise prior: recovered where it is known, absent where it cannot be, and honest about what it left out."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

from perfsuite.core.errors import OptionError
from perfsuite.core.metrics import Statistic
from perfsuite.core.noise import Noise, iteration_variance, moderated, squares_of
from perfsuite.core.noise_fit import fit_noise
from perfsuite.core.statistics import session_estimates

Cells = list[list[list[float]]]


def make_cells(count: int, sds: np.ndarray | float, *, sessions: int = 6, n: int = 40, body: float = 0.02) -> Cells:
    """Cells of 10 ms with log-normal samples, the sessions of cell c apart by `sds[c]`."""
    draw = np.random.default_rng(11)
    levels = draw.normal(size=(count, sessions, 1)) * np.reshape(np.broadcast_to(sds, count), (count, 1, 1))
    bodies = body * np.exp(draw.uniform(-1, 1, size=(count, 1, 1)))
    times: Cells = (10 * np.exp(levels + bodies * draw.normal(size=(count, sessions, n)))).tolist()
    return times


def obvious_fit(cells: Cells) -> tuple[float, float, float]:
    """a, b and d0 for the median, line by line as in docs/gate.md 3."""
    rows = [np.log(np.array(cell)) for cell in cells]
    d = np.array([len(row) - 1 for row in rows])
    variances = np.array([np.var([np.log(np.median(session)) for session in cell], ddof=1) for cell in cells])
    v = []
    for row in rows:
        centred = row - np.median(row, axis=1, keepdims=True)
        reach = math.sqrt(0.25 / row.shape[1])
        v.append(((np.quantile(centred, 0.5 + reach) - np.quantile(centred, 0.5 - reach)) / 2) ** 2)
    e = np.log(variances) - digamma(d / 2) + np.log(d / 2)
    b, a = np.polyfit(np.log(v), e, 1)
    residual = np.sum((e - a - b * np.log(v)) ** 2) / (len(e) - 2)
    excess = residual - np.mean(polygamma(1, d / 2))
    return float(a), float(b), 2 * brentq(lambda x: polygamma(1, x) - excess, 0.01, 30) if excess > 0.0339 else 60.0


def test_the_fit_equals_the_obvious_one() -> None:
    sds = 0.01 * np.exp(np.random.default_rng(1).normal(0, 0.7, size=30))
    cells = make_cells(30, sds)
    noise = fit_noise(cells, "median")
    a, b, d0 = obvious_fit(cells)
    assert d0 < 60
    assert (noise.intercept, noise.slope, noise.prior_df) == pytest.approx((a, b, d0), rel=1e-6)
    assert noise.cells == 30


def test_d0_is_found_again_where_the_variances_were_drawn_with_it() -> None:
    d0 = 8.0
    sds = 0.01 * np.sqrt(d0 / np.random.default_rng(3).chisquare(d0, size=400))
    noise = fit_noise(make_cells(400, sds, sessions=8, n=30, body=0.001), "median")
    assert 5 < noise.prior_df < 13


def test_cells_that_differ_no_more_than_by_chance_give_the_largest_d0_and_the_common_variance() -> None:
    cell = [[9.0, 10.0, 11.0], [9.18, 10.2, 11.22]]
    noise = fit_noise([cell] * 12, "median")
    variance = math.log(1.02) ** 2 / 2
    bias_of_one, bias_of_d0 = math.log(0.5) - digamma(0.5), math.log(30) - digamma(30)
    assert (noise.prior_df, noise.slope) == (60, 0)
    assert noise.prior_variance(1e-4) == pytest.approx(variance * math.exp(bias_of_one - bias_of_d0))


def test_fewer_than_ten_cells_give_no_prior() -> None:
    noise = fit_noise(make_cells(9, 0.01), "median")
    assert (noise.cells, noise.prior_df, noise.prior_variance(1e-6)) == (9, 0, 0)


def test_no_cells_give_no_prior_and_no_level() -> None:
    noise = fit_noise([], "p99")
    assert (noise.cells, noise.prior_df, noise.level_sd) == (0, 0, None)


def test_the_level_is_the_median_of_the_cells_deviations() -> None:
    def cell(ratio: float) -> list[list[float]]:
        return [[9.0, 10.0, 11.0], [9.0 * ratio, 10.0 * ratio, 11.0 * ratio]]

    noise = fit_noise([cell(1.01), cell(1.02), cell(1.5)], "mean")
    assert noise.level_sd == pytest.approx(math.log(1.02) / math.sqrt(2))


def test_a_cell_that_cannot_be_used_is_left_out_with_the_reason() -> None:
    good = make_cells(10, 0.01)
    bad: Cells = [
        [[1.0, 2.0]],
        [[1.0, math.nan], [1.0, 2.0]],
        [[1.0, 0.0], [1.0, 2.0]],
        [[1.0, 2.0], [1.0, 2.0]],
        [],
        [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0]],
        [[1.0, 2.0], [1.0, 1.1, 1.2, 5000.0]],
        [[1.0, 2.0], None],  # type: ignore[list-item]
        None,  # type: ignore[list-item]
    ]
    noise = fit_noise([*bad, *good], "median")
    assert noise.cells == 10
    assert noise.prior_df > 0
    assert noise.ignored == (
        "cell 1: the number of sessions is 1, 2 are needed",
        "cell 2: sample 2 of 2 is nan, not a time above zero",
        "cell 3: sample 2 of 2 is 0, not a time above zero",
        "cell 4: its sessions or samples do not differ at all",
        "cell 5: the number of sessions is 0, 2 are needed",
        "cell 6: session 1 has 2 samples, the longest 5",
        "cell 7: sample 4 of 4 is 5,000, 4,348 times the median: the clock jumped or the machine stood still",
        "cell 8: the number of sessions is 1, 2 are needed",
        "cell 9: not a list of sessions",
    )


def test_a_tail_of_too_few_samples_is_left_out() -> None:
    assert fit_noise(make_cells(1, 0.01), "p95").ignored == ("cell 1: 40 samples a session, 60 are needed",)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(OptionError, match="'p42' is not a statistic"):
        fit_noise([], "p42")


@pytest.mark.parametrize("metric", ["median", "p50", "mean", "p95", "p99"])
def test_every_metric_can_be_fitted_in_any_unit(metric: str) -> None:
    cells = make_cells(12, 0.01, n=300)
    in_ns = [[[1e6 * value for value in session] for session in cell] for cell in cells]
    here, there = fit_noise(cells, metric), fit_noise(in_ns, metric)
    assert (here.intercept, here.slope, here.prior_df) == pytest.approx(
        (there.intercept, there.slope, there.prior_df), rel=1e-6
    )


def test_the_variance_of_a_mean_is_the_variance_of_its_samples_over_their_number() -> None:
    rows = np.exp(np.array([[0.0, 2.0], [5.0, 7.0]]))
    assert iteration_variance(rows, Statistic.MEAN) == pytest.approx(1 / 2)


@pytest.mark.parametrize("statistic", [Statistic.P50, Statistic.P95, Statistic.MEAN])
def test_the_variance_from_samples_alone_is_what_repeated_sessions_show(statistic: Statistic) -> None:
    rows = np.exp(0.05 * np.random.default_rng(4).normal(size=(600, 200)))
    shown = float(session_estimates(rows, statistic).var(ddof=1))
    assert iteration_variance(rows, statistic) == pytest.approx(shown, rel=0.4)


def test_moderation_without_a_prior_is_the_plain_variance() -> None:
    spread = moderated(None, squares=6.0, freedom=3, covariate=1e-6)
    assert (spread.variance, spread.freedom) == (2.0, 3)


def test_moderation_weighs_the_prior_by_its_degrees_of_freedom() -> None:
    bias = math.log(2.5) - float(digamma(2.5))
    noise = Noise(statistic=Statistic.P50, cells=20, intercept=math.log(4.0) + bias, prior_df=5.0)
    spread = moderated(noise, squares=6.0, freedom=3, covariate=1.0)
    assert noise.prior_variance(1.0) == pytest.approx(4.0)
    assert spread.variance == pytest.approx((5 * 4 + 6) / (5 + 3))
    assert spread.freedom == 8


def test_a_clock_too_coarse_to_show_noise_does_not_promise_a_quiet_cell() -> None:
    noise = Noise(statistic=Statistic.P50, cells=20, slope=1.0, prior_df=5.0, least_covariate=1e-6)
    assert noise.prior_variance(0.0) == noise.prior_variance(1e-6)
    assert noise.prior_variance(4e-6) == pytest.approx(4 * noise.prior_variance(1e-6))


def test_beyond_the_cells_it_was_fitted_on_the_prior_grows_with_what_the_samples_alone_give() -> None:
    flat = Noise(statistic=Statistic.P50, cells=20, slope=0.2, prior_df=5.0, largest_covariate=1e-6)
    assert flat.prior_variance(8e-6) == pytest.approx(8 * flat.prior_variance(1e-6))
    steep = Noise(statistic=Statistic.P50, cells=20, slope=2.0, prior_df=5.0, largest_covariate=1e-6)
    assert steep.prior_variance(8e-6) == pytest.approx(64 * steep.prior_variance(1e-6))


def correlated_cells(common: float, *, sessions: int = 8) -> Cells:
    """Forty cells of session sd 1 %; `common` is the share of the variance that all have together."""
    draw = np.random.default_rng(12)
    shared, own = draw.normal(size=(1, sessions, 1)), draw.normal(size=(40, sessions, 1))
    levels = 0.01 * (math.sqrt(common) * shared + math.sqrt(1 - common) * own)
    times: Cells = (10 * np.exp(levels + 0.001 * draw.normal(size=(40, sessions, 50)))).tolist()
    return times


def test_cells_apart_give_the_pool_all_their_degrees_of_freedom() -> None:
    assert fit_noise(correlated_cells(0.0, sessions=20), "median").pool_df == pytest.approx(40 * 19, rel=0.25)


@pytest.mark.parametrize("sessions", [2, 8, 20])
def test_cells_that_move_as_one_give_the_pool_those_of_one_cell(sessions: int) -> None:
    noise = fit_noise(correlated_cells(1.0, sessions=sessions), "median")
    assert noise.pool_df == pytest.approx(sessions - 1, rel=0.1)


def test_the_pool_follows_from_the_squared_correlation_of_the_sessions() -> None:
    cells = correlated_cells(0.7, sessions=20)
    medians = np.log([[np.median(session) for session in cell] for cell in cells])
    squares = np.corrcoef(medians)[np.triu_indices(40, 1)] ** 2
    shared = (squares.mean() - 1 / 19) / (1 - 1 / 19)
    assert 0.3 < shared < 0.7
    assert fit_noise(cells, "median").pool_df == pytest.approx(19 / (shared + (1 - shared) / 40))


def test_a_prior_without_a_pool_has_all_its_degrees_of_freedom() -> None:
    assert moderated(None, squares=6.0, freedom=3, covariate=1e-6).common_freedom == 3


def test_squares_are_taken_from_the_mean() -> None:
    assert squares_of(np.array([1.0, 2.0, 6.0])) == pytest.approx(4 + 1 + 9)


def test_sessions_that_cells_leave_out_do_not_hide_what_they_have_in_common() -> None:
    draw = np.random.default_rng(11)
    common = 0.02 * draw.normal(size=8)
    cells = [[list(10 * np.exp(level + 0.001 * draw.normal(size=50))) for level in common] for _ in range(20)]
    aligned = fit_noise(cells, "median").pool_df
    gaps = [
        [None if index == cell % 8 else session for index, session in enumerate(own)] for cell, own in enumerate(cells)
    ]
    assert fit_noise(gaps, "median").pool_df < 1.5 * aligned
