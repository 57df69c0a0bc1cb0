"""The verdict on one metric: what passes, what fails, what must stay open, and what is no measurement at all."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact, t

from perfsuite.core.contrast import Contrast, Rule, compare, decide, smallest_tolerance
from perfsuite.core.distributions import hypergeometric_tail, student
from perfsuite.core.errors import OptionError
from perfsuite.core.gate import judge, minimum_detectable
from perfsuite.core.metrics import Direction, Statistic
from perfsuite.core.noise import Noise, Spread
from perfsuite.core.noise_fit import fit_noise
from perfsuite.core.remedy import doubt, remedy_for
from perfsuite.core.statistics import UnusableSamplesError
from perfsuite.core.verdict import Outcome

Sessions = list[list[float]]


def exact_sessions(*medians: float) -> Sessions:
    """Sessions of three samples each whose median and mean are known to the digit."""
    return [[0.9 * median, median, 1.1 * median] for median in medians]


def drawn_sessions(
    draw: np.random.Generator, count: int, *, sd: float, slower: float = 0.0, n: int = 50, body: float = 0.02
) -> Sessions:
    """Sessions of 10 ms apart by `sd`, all of them slower by a fraction."""
    levels = math.log1p(slower) + sd * draw.normal(size=(count, 1))
    sessions: Sessions = (10 * np.exp(levels + body * draw.normal(size=(count, n)))).tolist()
    return sessions


QUIET = exact_sessions(10.0, 10.05, 9.95, 10.02, 9.98)
SLOWER = exact_sessions(11.0, 11.02, 10.98)


def test_three_sessions_that_are_ten_percent_slower_are_a_regression() -> None:
    verdict = judge(QUIET, SLOWER)
    assert verdict.outcome is Outcome.REGRESSED
    assert verdict.reason == "3 of 3 candidate sessions are worse by more than 2.5 %"
    assert verdict.change == pytest.approx(0.1, abs=1e-4)
    assert (verdict.baseline_sessions, verdict.candidate_sessions, verdict.samples) == (5, 3, 3)


def test_one_session_at_the_old_level_passes_without_a_word() -> None:
    verdict = judge(QUIET, exact_sessions(10.01))
    assert (verdict.outcome, verdict.reason, verdict.remedy) == (Outcome.PASSED, "", "")


def test_a_change_surely_below_the_tolerance_passes_though_it_is_surely_a_change() -> None:
    verdict = judge(QUIET, exact_sessions(10.2, 10.21, 10.19, 10.2))
    assert verdict.outcome is Outcome.PASSED
    assert verdict.interval is not None
    assert verdict.interval.low > 0


def test_sessions_that_are_surely_faster_are_an_improvement() -> None:
    assert judge(QUIET, exact_sessions(8.0, 8.02, 7.98)).outcome is Outcome.IMPROVED


def test_two_slow_sessions_are_not_enough_to_fail_and_one_more_is_asked_for() -> None:
    verdict = judge(QUIET, SLOWER[:2])
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reason == "+10.1 % is a change, but 3 candidate sessions worse by 2.5 % are needed, found 2 of 2"
    assert (verdict.remedy, verdict.sessions_help) == ("1 more session", True)


def test_one_slow_session_among_fast_ones_does_not_fail() -> None:
    assert judge(QUIET, exact_sessions(10.0, 10.0, 15.0)).outcome is Outcome.INCONCLUSIVE


def test_levels_are_geometric_means_and_the_change_is_their_ratio() -> None:
    verdict = judge(exact_sessions(8.0, 12.5), exact_sessions(9.0, 12.1))
    assert verdict.baseline == pytest.approx(10.0)
    assert verdict.candidate == pytest.approx(math.sqrt(9 * 12.1))
    assert verdict.change == pytest.approx(math.sqrt(9 * 12.1) / 10 - 1)


def test_the_interval_is_students_on_the_logarithms() -> None:
    verdict = judge(exact_sessions(10.0, 11.0), exact_sessions(10.0))
    theta, sd = -math.log(1.1) / 2, math.log(1.1) / math.sqrt(2)
    reach = t.ppf(0.975, 1) * sd * math.sqrt(1 / 2 + 1)
    assert verdict.interval is not None
    assert verdict.interval.low == pytest.approx(math.exp(theta - reach) - 1)
    assert verdict.interval.high == pytest.approx(math.exp(theta + reach) - 1)


def test_nanoseconds_and_milliseconds_give_the_same_verdict() -> None:
    in_ns = [[[round(1e6 * value) for value in session] for session in side] for side in (QUIET, SLOWER)]
    here, there = judge(QUIET, SLOWER), judge(*in_ns)
    assert (here.outcome, here.reason) == (there.outcome, there.reason)
    assert here.change == pytest.approx(there.change)
    assert there.baseline == pytest.approx(1e6 * (here.baseline or 0))


def test_only_the_first_samples_that_all_sessions_have_take_part() -> None:
    long = [[*session, 1000.0, 2000.0] for session in QUIET]
    assert judge(long, SLOWER).baseline == judge(QUIET, SLOWER).baseline


def test_where_more_is_better_the_same_numbers_mean_the_opposite() -> None:
    up = judge(QUIET, SLOWER, direction=Direction.HIGHER_IS_BETTER)
    down = judge(SLOWER + SLOWER[:2], QUIET[:3], direction=Direction.HIGHER_IS_BETTER)
    assert (up.outcome, down.outcome) == (Outcome.IMPROVED, Outcome.REGRESSED)


def test_the_change_keeps_its_natural_sign_where_more_is_better() -> None:
    verdict = judge(QUIET, SLOWER, direction=Direction.HIGHER_IS_BETTER)
    assert verdict.change == judge(QUIET, SLOWER).change
    assert verdict.interval == judge(QUIET, SLOWER).interval


@given(st.lists(st.floats(min_value=5, max_value=20), min_size=2, max_size=6), st.floats(min_value=0.5, max_value=2))
@settings(max_examples=60)
def test_mirrored_times_where_more_is_better_give_the_same_outcome(medians: list[float], shift: float) -> None:
    sides = exact_sessions(*medians), exact_sessions(*(shift * median for median in medians))
    mirrored = [[[1 / value for value in session] for session in side] for side in sides]
    assert judge(*sides).outcome is judge(*mirrored, direction=Direction.HIGHER_IS_BETTER).outcome


def test_more_gates_ask_for_more_evidence() -> None:
    noisy = exact_sessions(10.0, 10.2, 9.8, 10.1, 9.9)
    candidate = exact_sessions(11.2, 11.0, 11.1)
    assert judge(noisy, candidate, gates=1).outcome is Outcome.REGRESSED
    assert judge(noisy, candidate, gates=2000).outcome is Outcome.INCONCLUSIVE


def test_a_fitted_prior_decides_what_two_baseline_sessions_alone_cannot() -> None:
    draw = np.random.default_rng(7)
    noise = fit_noise([drawn_sessions(draw, 6, sd=0.005) for _ in range(30)], "median")
    baseline, candidate = drawn_sessions(draw, 2, sd=0.005), drawn_sessions(draw, 1, sd=0.005)
    assert judge(baseline, candidate).outcome is Outcome.INCONCLUSIVE
    assert judge(baseline, candidate, noise=noise).outcome is Outcome.PASSED


def test_a_prior_of_another_metric_is_refused() -> None:
    noise = Noise(statistic=Statistic.P99, cells=0)
    with pytest.raises(OptionError, match="fitted for 'p99', not for 'median'"):
        judge(QUIET, SLOWER, noise=noise)


def test_one_baseline_session_is_never_a_verdict() -> None:
    verdict = judge(QUIET[:1], SLOWER)
    assert (verdict.outcome, verdict.interval, verdict.sessions_help) == (Outcome.INCONCLUSIVE, None, False)
    assert verdict.remedy == "5 baseline sessions, 2 at least"


@pytest.mark.parametrize(
    ("metric", "n", "remedy"),
    [
        ("p95", 59, "1 more sample per session (n = 60)"),
        ("p99", 100, "200 more samples per session (n = 300)"),
    ],
)
def test_a_tail_of_too_few_samples_is_never_a_verdict(metric: str, n: int, remedy: str) -> None:
    draw = np.random.default_rng(0)
    baseline, candidate = (drawn_sessions(draw, k, sd=0.001, n=n) for k in (5, 3))
    verdict = judge(baseline, candidate, metric=metric, tolerance=0.1)
    assert (verdict.outcome, verdict.sessions_help) == (Outcome.INCONCLUSIVE, False)
    assert verdict.remedy == remedy


def test_a_tail_that_differs_between_baseline_sessions_is_never_a_verdict() -> None:
    draw = np.random.default_rng(0)
    baseline, candidate = drawn_sessions(draw, 5, sd=0.1, n=60), drawn_sessions(draw, 6, sd=0.1, slower=0.9, n=60)
    verdict = judge(baseline, candidate, metric="p95", tolerance=0.1)
    assert (verdict.outcome, verdict.sessions_help) == (Outcome.INCONCLUSIVE, False)
    assert "a third of the tolerance is 3.2 %" in verdict.reason
    assert "a tolerance of" in verdict.remedy


def test_a_tail_that_differs_by_its_few_samples_asks_for_more_of_them() -> None:
    draw = np.random.default_rng(4)
    baseline, candidate = (drawn_sessions(draw, 8, sd=0, n=60, body=0.2) for _ in range(2))
    verdict = judge(baseline, candidate, metric="p95", tolerance=0.1)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "more samples per session (n = " in verdict.remedy


def test_no_tail_is_gated_on_a_host_whose_medians_differ() -> None:
    draw = np.random.default_rng(0)
    baseline, candidate = (drawn_sessions(draw, 5, sd=0.001, n=100) for _ in range(2))
    restless = Noise(statistic=Statistic.P95, cells=3, level_sd=0.016)
    verdict = judge(baseline, candidate, metric="p95", tolerance=0.1, noise=restless)
    assert (verdict.outcome, verdict.sessions_help) == (Outcome.INCONCLUSIVE, False)
    assert "1.6 %" in verdict.reason
    calm = replace(restless, level_sd=0.014)
    assert judge(baseline, candidate, metric="p95", tolerance=0.1, noise=calm).outcome is Outcome.PASSED


def test_a_stretched_tail_regresses_while_the_median_passes() -> None:
    draw = np.random.default_rng(1)
    baseline, candidate = (drawn_sessions(draw, k, sd=0.002, n=1000) for k in (5, 3))
    stretched = [[value * 1.2 if value > np.quantile(s, 0.97) else value for value in s] for s in candidate]
    assert judge(baseline, stretched, metric="p99", tolerance=0.1).outcome is Outcome.REGRESSED
    assert judge(baseline, stretched, metric="median").outcome is Outcome.PASSED


def test_a_tail_fails_only_if_more_of_its_samples_are_slow() -> None:
    rule = Rule(statistic=Statistic.P99, tolerance=0.1)
    spread = Spread(variance=1e-6, freedom=6)
    contrast = Contrast(theta=0.12, spread=spread, m=5, k=3, n=300, agreeing=3, slow_baseline=10, slow_candidate=40)
    assert decide(contrast, rule) is Outcome.REGRESSED
    assert decide(replace(contrast, slow_candidate=8), rule) is Outcome.INCONCLUSIVE


def test_a_tail_does_not_pass_if_surely_more_of_its_samples_are_slow() -> None:
    rule = Rule(statistic=Statistic.P95, tolerance=0.1)
    spread = Spread(variance=1e-6, freedom=6)
    contrast = Contrast(theta=0.04, spread=spread, m=5, k=1, n=300, agreeing=0, slow_baseline=2, slow_candidate=3)
    assert decide(contrast, rule) is Outcome.PASSED
    heavier = replace(contrast, slow_candidate=15)
    assert decide(heavier, rule) is Outcome.INCONCLUSIVE
    assert doubt(heavier, rule) == (
        "+4.1 % is below the tolerance, but 15 of 300 samples beyond the tail's limit are surely more than "
        "2 of 1500 in the baseline"
    )
    assert remedy_for(heavier, rule) == "gate the mean too: what became slower lies beyond P95"


def test_noise_common_to_all_cells_counts_once_and_its_error_is_not_shared_by_the_gates() -> None:
    spread = Spread(variance=1e-4, freedom=69, measured=2, pool_df=7)
    contrast = Contrast(theta=0.0, spread=spread, m=8, k=3, n=100, agreeing=0)
    freedom = 69**2 / (67**2 / 7 + 2)
    assert spread.common_freedom == pytest.approx(freedom)
    quantiles = contrast.alarm_reach(Rule(statistic=Statistic.P50, gates=240)) / (0.01 * math.sqrt(1 / 8 + 1 / 3))
    assert quantiles == pytest.approx(t.isf(0.001 / 6, freedom))
    apart = replace(contrast, spread=replace(spread, pool_df=math.inf))
    quantiles = apart.alarm_reach(Rule(statistic=Statistic.P50, gates=240)) / (0.01 * math.sqrt(1 / 8 + 1 / 3))
    assert quantiles == pytest.approx(t.isf(0.001 / 1440, 69))


def test_a_baseline_that_moves_as_one_can_detect_less() -> None:
    draw = np.random.default_rng(3)
    levels = 0.01 * draw.normal(size=(1, 8, 1))
    cells = (10 * np.exp(levels + 0.002 * draw.normal(size=(30, 8, 50)))).tolist()
    shuffled = [[cell[i] for i in draw.permutation(8)] for cell in cells]
    alike, mixed = (
        minimum_detectable(cells[0], noise=fit_noise(suite, "median"), gates=30) for suite in (cells, shuffled)
    )
    assert alike is not None
    assert mixed is not None
    assert alike > mixed


@pytest.mark.parametrize(("slow", "usual"), [(0, 0), (0, 5), (3, 1), (9, 2), (30, 30), (60, 0)])
def test_the_guard_is_fishers_exact_test(slow: int, usual: int) -> None:
    table = [[slow, 60 - slow], [usual, 100 - usual]]
    expected = fisher_exact(table, alternative="greater").pvalue
    assert hypergeometric_tail(slow, population=160, marked=slow + usual, drawn=60) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "kappa"), [(300, 1 - 0.6 / math.sqrt(3)), (1000, 1 - 0.6 / math.sqrt(10))])
def test_a_p99_must_stay_further_below_the_tolerance_to_pass(n: int, kappa: float) -> None:
    assert Rule(statistic=Statistic.P99, tolerance=0.1).pass_limit(n) == pytest.approx(kappa * math.log(1.1))


def test_a_median_must_stay_below_the_tolerance_itself_to_pass() -> None:
    assert Rule(statistic=Statistic.P50, tolerance=0.1).pass_limit(3) == pytest.approx(math.log(1.1))


@pytest.mark.parametrize("freedom", [1.0, 4.5, 19.0, 70.0])
@pytest.mark.parametrize("error", [0.025, 1e-2 / 6, 1e-3 / 1440])
def test_students_quantile_equals_scipys(freedom: float, error: float) -> None:
    assert student(error, freedom) == pytest.approx(t.isf(error, freedom))


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([], "candidate session 2: no samples"),
        ([1.0, math.nan], "candidate session 2: sample 2 of 2 is nan, not a time above zero"),
        ([1.0, math.inf], "candidate session 2: sample 2 of 2 is inf, not a time above zero"),
        ([0.0, 1.0], "candidate session 2: sample 1 of 2 is 0, not a time above zero"),
        ([1.0, -1.0], "candidate session 2: sample 2 of 2 is -1, not a time above zero"),
        ([5.0, 5.0], "candidate session 2: all 2 samples are 5: the clock does not tick"),
        (["a", "b"], "candidate session 2: not a list of numbers"),
        (None, "candidate session 2: not a list of numbers"),
        (
            [10.0, 11.0, 9.0, 36e5],
            "candidate session 2: sample 4 of 4 is 3,600,000, 342,857 times the median: the clock",
        ),
        (
            [10.0, 11.0, 9.0, 5e-5],
            "candidate session 2: sample 4 of 4 is 5e-05, less than a hundred thousandth of the median",
        ),
    ],
)
def test_samples_that_are_no_measurement_are_invalid(samples: list[float], reason: str) -> None:
    verdict = judge(QUIET, [SLOWER[0], samples])
    assert verdict.outcome is Outcome.INVALID
    assert verdict.reason.startswith(reason)
    assert (verdict.change, verdict.interval) == (None, None)


def test_a_baseline_whose_clock_jumped_is_not_usable() -> None:
    verdict = judge([*QUIET, [10.0, 11.0, 9.0, 36e5]], SLOWER)
    assert (verdict.outcome, verdict.remedy) == (Outcome.INVALID, "measure that session again")
    assert verdict.reason.startswith("baseline session 6: sample 4 of 4 is 3,600,000")


def test_a_session_with_half_of_the_samples_or_fewer_is_refused_and_named() -> None:
    verdict = judge([[*session, 10.2, 10.3, 10.4, 10.5] for session in QUIET], [[*SLOWER[0], 11.1], SLOWER[1]])
    assert (verdict.outcome, verdict.sessions_help) == (Outcome.INCONCLUSIVE, False)
    assert verdict.reason == "candidate session 2 is cut short: n = 3, half or less of the longest session's 7"
    assert verdict.remedy == "measure sessions of the same length"


def test_more_than_half_of_the_samples_are_enough() -> None:
    long = [[*session, 10.2, 10.3] for session in QUIET]
    assert judge(long, SLOWER).outcome is Outcome.REGRESSED


def test_later_sessions_widen_the_noise_and_leave_the_level_alone() -> None:
    alone = judge(QUIET, SLOWER[:1])
    wider = judge(QUIET, SLOWER[:1], later=exact_sessions(10.4, 9.6, 10.5))
    assert (wider.baseline, wider.change) == (alone.baseline, alone.change)
    assert wider.interval is not None
    assert alone.interval is not None
    assert wider.interval.high > alone.interval.high


def test_a_later_session_adds_its_distance_from_the_level_and_one_degree_of_freedom() -> None:
    rule = Rule(statistic=Statistic.P50)
    stored, later = np.array(QUIET), np.array(exact_sessions(10.4))
    before, after = compare(stored, stored[:1], rule, None), compare(stored, stored[:1], rule, None, later)
    level = np.log(np.median(stored, axis=1)).mean()
    added = (math.log(10.4) - level) ** 2 * 5 / 6
    assert after.spread.freedom == before.spread.freedom + 1
    assert after.spread.variance * after.spread.freedom == pytest.approx(
        before.spread.variance * before.spread.freedom + added
    )


def test_later_sessions_that_are_too_short_tell_nothing() -> None:
    assert judge(QUIET, SLOWER, later=[[10.0, 11.0]]) == judge(QUIET, SLOWER)


@pytest.mark.parametrize("sessions", [None, 5, "abc", {}, np.array(3.0)])
def test_what_is_no_list_of_sessions_is_invalid(sessions: Sessions) -> None:
    assert judge(sessions, SLOWER).reason == "baseline: not a list of sessions"
    verdict = judge(QUIET, sessions)
    assert (verdict.outcome, verdict.reason) == (Outcome.INVALID, "candidate: not a list of sessions")
    assert verdict.candidate_sessions == 0


def test_a_side_without_sessions_is_invalid() -> None:
    assert judge([], SLOWER).reason == "baseline: no sessions"
    assert judge(QUIET, []).outcome is Outcome.INVALID


@given(
    st.lists(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=4), max_size=4),
    st.lists(st.lists(st.floats(min_value=0, max_value=1e308), max_size=4), max_size=4),
    st.sampled_from(["median", "mean", "p95", "p99"]),
)
@settings(max_examples=150)
def test_no_samples_whatever_make_it_raise(baseline: Sessions, candidate: Sessions, metric: str) -> None:
    assert judge(baseline, candidate, metric=metric).outcome in Outcome


@pytest.mark.parametrize("tolerance", [0.0, -0.05, 1.01, math.nan, math.inf])
def test_a_tolerance_outside_its_range_is_refused(tolerance: float) -> None:
    with pytest.raises(OptionError, match="above 0 and at most 1"):
        judge(QUIET, SLOWER, tolerance=tolerance)


@pytest.mark.parametrize("wrong", [{"gates": 0}, {"looks": 0}, {"family_error": 0.0}, {"metric": "p90"}])
def test_an_argument_that_cannot_be_used_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        judge(QUIET, SLOWER, **wrong)  # type: ignore[arg-type]


def test_the_sessions_asked_for_do_decide_if_they_come_out_the_same() -> None:
    baseline, candidate = exact_sessions(10.0, 10.1, 9.9, 10.05, 9.95), exact_sessions(10.2)
    verdict = judge(baseline, candidate)
    assert (verdict.outcome, verdict.sessions_help) == (Outcome.INCONCLUSIVE, True)
    more = int(verdict.remedy.removesuffix(" more sessions"))
    sd = math.sqrt(float(np.var(np.log([10.0, 10.1, 9.9, 10.05, 9.95]), ddof=1)))
    level = float(np.exp(np.mean(np.log([10.0, 10.1, 9.9, 10.05, 9.95]))))
    theta = math.log(10.2 / level)
    reaches = [t.isf(0.005 / 6, 4 + more - less) * sd * math.sqrt(1 / 5 + 1 / (1 + more - less)) for less in (0, 1)]
    assert theta + reaches[0] < math.log(1.05) <= theta + reaches[1]


def test_a_cell_too_noisy_for_any_number_of_sessions_says_what_it_could_gate() -> None:
    baseline = exact_sessions(10.0, 12.5, 8.0, 11.0, 9.0)
    verdict = judge(baseline, exact_sessions(10.2))
    assert (verdict.outcome, verdict.sessions_help) == (Outcome.INCONCLUSIVE, False)
    assert verdict.remedy.startswith(("a tolerance of", "a quieter machine"))
    assert verdict.remedy.endswith("a quieter machine or both versions in turns (--perf-against REF, docs/twin.md)")


def test_where_sessions_do_not_suffice_a_larger_baseline_is_named() -> None:
    verdict = judge(exact_sessions(10.0, 10.2, 9.8), exact_sessions(10.3, 10.5, 10.4, 10.3, 10.5, 10.4))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "baseline sessions (3 now)" in verdict.remedy


@pytest.mark.parametrize(
    ("m", "k", "sd", "tolerance"),
    [(5, 3, 0.0070, 0.05), (8, 3, 0.0079, 0.05), (8, 6, 0.0103, 0.05), (20, 10, 0.031, 0.10), (20, 6, 0.048, 0.20)],
)
def test_the_smallest_tolerance_is_the_table_of_the_docs(m: int, k: int, sd: float, tolerance: float) -> None:
    found = smallest_tolerance(sd, m=m, k=k, freedom=13 + m + k - 2, alpha=0.001 / (240 * 6))
    assert found == pytest.approx(tolerance, rel=0.04)


def test_the_minimum_detectable_change_follows_from_the_baselines_spread() -> None:
    sd = float(np.std(np.log([10.0, 10.1, 9.9]), ddof=1))
    expected = math.expm1((t.isf(0.001 / 60, 7) + 2.3263479) * sd * math.sqrt(1 / 3 + 1 / 6))
    assert minimum_detectable(exact_sessions(10.0, 10.1, 9.9), gates=10) == pytest.approx(expected, rel=1e-6)


def test_a_baseline_of_one_session_or_of_a_short_tail_can_detect_nothing() -> None:
    assert minimum_detectable(QUIET[:1]) is None
    assert minimum_detectable(QUIET, metric="p99") is None


def test_the_minimum_detectable_change_of_broken_samples_is_refused() -> None:
    with pytest.raises(UnusableSamplesError, match="baseline session 1: no samples"):
        minimum_detectable([[], [1.0, 2.0]])


def outcome_after(draw: np.random.Generator, *, sd: float, slower: float, looks: int = 6) -> Outcome:
    """The verdict of a whole run: five baseline sessions, and candidate sessions until it is decided."""
    baseline = drawn_sessions(draw, 5, sd=sd, n=20)
    candidate = drawn_sessions(draw, looks, sd=sd, slower=slower, n=20)
    outcome = Outcome.INCONCLUSIVE
    for k in range(1, looks + 1):
        outcome = judge(baseline, candidate[:k], looks=looks).outcome
        if outcome.is_decided:
            break
    return outcome


def test_identical_code_never_fails_in_a_thousand_runs_with_all_their_looks() -> None:
    draw = np.random.default_rng(2024)
    outcomes = [outcome_after(draw, sd=0.01, slower=0.0) for _ in range(1000)]
    assert outcomes.count(Outcome.REGRESSED) == 0
    assert outcomes.count(Outcome.PASSED) > 900


def test_identical_code_does_not_fail_at_six_sessions_at_once() -> None:
    draw = np.random.default_rng(2025)
    verdicts = [
        judge(drawn_sessions(draw, 5, sd=0.01, n=20), drawn_sessions(draw, 6, sd=0.01, n=20)) for _ in range(2000)
    ]
    assert not any(verdict.outcome is Outcome.REGRESSED for verdict in verdicts)


def test_ten_percent_slower_fails_in_nearly_all_runs() -> None:
    draw = np.random.default_rng(2026)
    outcomes = [outcome_after(draw, sd=0.005, slower=0.10) for _ in range(200)]
    assert outcomes.count(Outcome.REGRESSED) >= 198
    assert outcomes.count(Outcome.PASSED) == 0


def test_exactly_the_tolerance_passes_in_at_most_one_run_of_a_hundred() -> None:
    draw = np.random.default_rng(2027)
    outcomes = [outcome_after(draw, sd=0.008, slower=0.05) for _ in range(400)]
    assert outcomes.count(Outcome.PASSED) <= 8


def test_240_gates_of_twenty_sessions_are_judged_in_two_seconds() -> None:
    draw = np.random.default_rng(1)
    baseline, candidate = (drawn_sessions(draw, k, sd=0.005, n=1000) for k in (14, 6))
    metrics = ("median", "mean", "p95", "p99")
    began = time.process_time()
    for gate in range(240):
        judge(baseline, candidate, metric=metrics[gate % 4], tolerance=0.1, gates=240)
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize(
    "argument",
    [
        {"gates": math.nan},
        {"gates": 2.5},
        {"metrics": 0},
        {"looks": None},
        {"tolerance": "5%"},
        {"tolerance": True},
        {"direction": 1},
        {"metric": ["median"]},
    ],
)
def test_an_argument_that_is_no_such_thing_is_refused(argument: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        judge(QUIET, SLOWER, **argument)  # type: ignore[arg-type]


def test_what_cells_err_in_together_may_err_once_for_each_metric() -> None:
    one, six = (Rule(statistic=Statistic.P50, gates=60, metrics=metrics) for metrics in (1, 6))
    assert six.common_alpha == pytest.approx(one.common_alpha / 6)
    assert six.alpha == one.alpha


def test_a_later_session_that_cannot_be_used_does_not_spoil_the_verdict() -> None:
    assert judge(QUIET, SLOWER, later=[[10.0, math.nan, 11.0]]) == judge(QUIET, SLOWER)
