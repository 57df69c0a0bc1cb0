"""Bounds on chance are compared with every possible outcome counted out."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import multinomial

from perfsuite.core.likelihood import Cells, best_log_likelihood, log_chance_of_misfit, pooled


def cells(*probabilities, slack=0.0):
    with np.errstate(divide="ignore"):
        return Cells(log_p=np.log(probabilities), slack=np.full(len(probabilities), slack))


def counts(*numbers):
    return np.array(numbers, dtype=float)


def outcomes(draws, kinds):
    return [counts(*row) for row in product(range(draws + 1), repeat=kinds) if sum(row) == draws]


@pytest.mark.parametrize("probabilities", [(0.5, 0.5), (0.9, 0.1), (0.2, 0.3, 0.5), (0.01, 0.09, 0.9)])
@pytest.mark.parametrize("draws", [5, 20])
def test_the_bound_is_above_the_exact_chance_for_few_draws(probabilities, draws):
    found = cells(*probabilities)
    every = outcomes(draws, len(probabilities))
    chances = np.array([multinomial.pmf(row, draws, probabilities) for row in every])
    bounds = np.array([log_chance_of_misfit(row, found) for row in every])
    for bound in np.unique(bounds):
        assert chances[bounds <= bound].sum() <= math.exp(bound) + 1e-12


def test_a_good_fit_is_no_evidence_and_a_bad_one_is_overwhelming():
    assert log_chance_of_misfit(counts(50, 50), cells(0.5, 0.5)) == 0
    assert log_chance_of_misfit(counts(90, 10), cells(0.5, 0.5)) < math.log(1e-13)


def test_what_is_impossible_and_drawn_has_no_chance():
    assert log_chance_of_misfit(counts(9, 1), cells(1.0, 0.0)) == -math.inf


def test_without_slack_the_likelihood_is_the_multinomials():
    assert best_log_likelihood(counts(3, 1), cells(0.8, 0.2)) == pytest.approx(3 * math.log(0.8) + math.log(0.2))


def test_a_slack_that_reaches_the_shares_fits_them_exactly():
    found = cells(0.5, 0.5, slack=1.0)
    assert best_log_likelihood(counts(60, 40), found) == pytest.approx(60 * math.log(0.6) + 40 * math.log(0.4))
    assert log_chance_of_misfit(counts(60, 40), found) == 0


@given(
    st.lists(st.integers(0, 30), min_size=3, max_size=3).filter(any),
    st.lists(st.floats(0.05, 1), min_size=3, max_size=3),
    st.floats(0.01, 0.8),
)
@example([0, 4, 8], [0.125, 1.0, 1.0], 0.75)
def test_no_distribution_within_the_slack_is_likelier(numbers, weights, slack):
    found = cells(*(np.array(weights) / sum(weights)), slack=slack)
    tallied = counts(*numbers)

    def minus_log_likelihood(shift):
        return -(tallied * (found.log_p + shift)).sum() + sum(numbers) * np.log(np.exp(found.log_p + shift).sum())

    def gradient(shift):
        weights = np.exp(found.log_p + shift)
        return sum(numbers) * weights / weights.sum() - tallied

    slow = minimize(
        minus_log_likelihood, np.zeros(3), jac=gradient, bounds=[(-slack, slack)] * 3, tol=1e-12, method="SLSQP"
    )
    assert best_log_likelihood(tallied, found) == pytest.approx(-slow.fun, rel=1e-6, abs=1e-5)


def test_unlikely_outcomes_are_pooled_by_probability_and_likely_ones_stay():
    tallied, found = pooled(counts(1, 5, 2, 3, 9), cells(0.05, 0.4, 0.1, 0.05, 0.4), limit=10)
    assert tallied.tolist() == [5, 9, 6]
    np.testing.assert_allclose(np.exp(found.log_p), [0.4, 0.4, 0.2])


def test_pooling_a_whole_vocabulary_leaves_few_cells_that_hold_everything():
    probabilities = np.random.default_rng(0).dirichlet(np.full(30_000, 0.1))
    tallied, found = pooled(np.ones(30_000), cells(*probabilities), limit=32)
    assert len(found.log_p) <= 34
    assert tallied.sum() == (probabilities > 0).sum()
    assert np.exp(found.log_p).sum() == pytest.approx(1)
