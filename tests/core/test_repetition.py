"""How many samples a session is worth."""

from dataclasses import replace

import numpy as np
import pytest

from perfsuite.core.repetition import Cost, Repetition, best_samples, cost_of, repetition
from perfsuite.core.sample import Phase
from perfsuite.core.units import NS_PER_MS, NS_PER_S
from tests.builders import make_block_recording, make_recording, make_sessions

LOADING = Cost(session_ns=30 * NS_PER_S, sample_ns=40 * NS_PER_MS, samples=300)


def test_half_a_minute_of_loading_is_worth_eighty_samples_of_a_prompt() -> None:
    """sqrt(30 s / 40 ms * 3 %^2 / 1 %^2) = sqrt(6750) = 82.2."""
    assert best_samples(LOADING, within_sd=0.03, between_sd=0.01) == 83


def test_sessions_that_differ_by_no_more_than_their_samples_set_no_bound() -> None:
    assert best_samples(LOADING, within_sd=0.03, between_sd=0.0) is None


def test_a_session_is_worth_one_sample_at_least() -> None:
    assert best_samples(LOADING, within_sd=0.0, between_sd=0.01) == 1


def test_a_sample_counts_with_the_spread_that_its_session_keeps_of_it() -> None:
    """300 samples that leave 3 % / sqrt(300) of the 3 % of each."""
    found = repetition(LOADING, block_sd=0.03 / np.sqrt(300), process_sd=0.01)
    assert found == Repetition(samples=300, best=83)


def test_samples_that_move_together_are_worth_more_of_them() -> None:
    """Three times the variance between blocks: sqrt(3) as many, about the 140 of correlated medians."""
    found = repetition(LOADING, block_sd=np.sqrt(3) * 0.03 / np.sqrt(300), process_sd=0.01)
    assert found.best == 143


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2.0])
def test_no_other_number_of_samples_buys_a_smaller_spread_in_the_same_time(factor: float) -> None:
    def spread_of_an_hour(n: float) -> float:
        sessions = 3600 * NS_PER_S / (LOADING.session_ns + n * LOADING.sample_ns)
        return float((0.01**2 + 0.03**2 / n) / sessions)

    best = best_samples(LOADING, within_sd=0.03, between_sd=0.01)
    assert best is not None
    assert spread_of_an_hour(best) < spread_of_an_hour(factor * best)


@pytest.mark.parametrize(("phase", "sample_ms", "samples"), [(Phase.PREFILL, 40, 20), (Phase.DECODE, 46, 4)])
def test_a_session_costs_its_startup_and_its_warm_ups(phase: Phase, sample_ms: float, samples: int) -> None:
    """2 s to load, 0.5 s for the first call, two warm-ups of 1 s."""
    found = cost_of(make_sessions(make_recording(), 3), phase)
    assert found == Cost(session_ns=4.5 * NS_PER_S, sample_ns=sample_ms * NS_PER_MS, samples=samples)


def test_the_costs_of_sessions_that_differ_are_averaged() -> None:
    slow = replace(make_recording(ttft_ms=80), startup=())
    found = cost_of((make_recording(ttft_ms=40), slow), Phase.PREFILL)
    assert found == Cost(session_ns=(4.5 + 2) / 2 * NS_PER_S, sample_ns=60 * NS_PER_MS, samples=20)


def test_requests_that_were_never_made_have_no_cost() -> None:
    assert cost_of((make_block_recording([[40.0]]),), Phase.DECODE) is None
