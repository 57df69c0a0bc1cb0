"""What a self-test found: shares, bounds, and whether the gate was wrong."""

import pytest
from scipy.special import bdtr

from perfsuite.core.metrics import parse_metric
from perfsuite.core.selftest import Gated, Replays, Tally, Trial, added_up, default_slowdown, is_over, upper_bound
from perfsuite.core.verdict import Judgement, Outcome
from tests.builders import make_baseline, make_cell, make_recording, make_sessions, make_verdict

TTFT, P99, DEVICE = (parse_metric(text, where="test") for text in ("ttft.p50", "ttft.p99", "ttft_device.p50"))
CELL = make_cell()


def trial(*outcomes: tuple[str, Outcome], slowdown: float = 0.0) -> Trial:
    """A trial of one cell at tolerances of 5 %."""
    verdicts = tuple(make_verdict(outcome, metric) for metric, outcome in outcomes)
    return Trial(slowdown=slowdown, judgements=(Judgement(cell=CELL, verdicts=verdicts),), spent_ns={})


def test_no_hit_in_a_hundred_bounds_the_share_at_three_percent() -> None:
    assert upper_bound(0, 100) == pytest.approx(1 - 0.05**0.01)
    assert upper_bound(0, 100) == pytest.approx(0.0295, abs=1e-4)


def test_at_the_bound_so_few_hits_have_a_chance_of_five_percent() -> None:
    assert bdtr(3, 50, upper_bound(3, 50)) == pytest.approx(0.05)
    assert upper_bound(7, 7) == 1.0


def test_replays_without_a_count_have_no_bound() -> None:
    assert Replays(count=0, red_by_metric={}, tallies={}, too_few={CELL: 5}).red_bound is None


def test_tallies_of_several_cells_add_up_and_keep_the_median_effect() -> None:
    tallies = [
        Tally(metric=TTFT, injection="+5 %", effect=effect, caught=8, undecided=1, missed=1, sessions=27)
        for effect in (0.04, 0.05, 0.09)
    ]
    total = added_up(tallies)
    assert (total.effect, total.caught, total.undecided, total.allowed, total.missed) == (0.05, 24, 3, 0, 3)
    assert (total.count, total.mean_sessions) == (30, 3.0)


def test_without_a_verdict_there_is_no_time_to_one() -> None:
    assert Tally(metric=TTFT, injection="nothing", effect=0.0, undecided=4).mean_sessions is None


def test_a_red_gate_on_the_same_code_is_wrong() -> None:
    found = trial(("ttft.p50", Outcome.REGRESSED), ("tpot.p50", Outcome.PASSED), ("e2e.p50", Outcome.INCONCLUSIVE))
    assert [verdict.metric for _, verdict in found.wrong()] == ["ttft.p50"]


def test_a_pass_in_spite_of_a_slowdown_is_wrong_and_an_open_verdict_is_not() -> None:
    outcomes = (("ttft.p50", Outcome.REGRESSED), ("tpot.p50", Outcome.PASSED), ("e2e.p50", Outcome.INCONCLUSIVE))
    assert [verdict.metric for _, verdict in trial(*outcomes, slowdown=0.1).wrong()] == ["tpot.p50"]


def test_a_slowdown_below_the_tolerance_may_pass() -> None:
    assert trial(("ttft.p50", Outcome.PASSED), slowdown=0.03).wrong() == ()


def test_what_the_device_times_is_not_slowed_and_may_pass() -> None:
    assert trial(("ttft_device.p50", Outcome.PASSED), slowdown=0.1).wrong() == ()


def test_what_was_not_compared_is_told_apart() -> None:
    outcomes = (("ttft.p50", Outcome.INVALID), ("tpot.p50", Outcome.INCOMPARABLE), ("e2e.p50", Outcome.PASSED))
    found = trial(*outcomes)
    assert (found.wrong(), len(found.uncompared())) == ((), 2)


def test_an_effect_of_the_tolerance_must_not_pass() -> None:
    assert [is_over(effect, 0.05) for effect in (0.05, 0.0499, 0.04)] == [True, True, False]


def test_the_slowdown_of_a_trial_is_twice_the_tolerance_of_a_median_on_the_host() -> None:
    baseline = make_baseline(make_recording(device=True))
    gated = Gated(baseline=baseline, tolerances={TTFT: 0.08, P99: 0.3, DEVICE: 0.2})
    assert default_slowdown([gated]) == pytest.approx(0.16)
    tails_only = Gated(baseline=baseline, tolerances={P99: 0.3})
    assert default_slowdown([tails_only]) == pytest.approx(0.6)


def test_a_metric_that_is_off_or_without_values_is_not_gated() -> None:
    baseline = make_baseline(*make_sessions(make_recording(), 6))
    assert Gated(baseline=baseline, tolerances={TTFT: 0.05, P99: 0.0, DEVICE: 0.02}).metrics() == (TTFT,)
