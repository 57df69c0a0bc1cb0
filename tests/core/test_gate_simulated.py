"""The gate on whole simulated suites: small and quick; the numbers of docs/benchmarks/gate.md come from long runs."""

from collections import Counter

import numpy as np
import pytest

from perfsuite import Noise, Outcome, Verdict, fit_noise, judge
from perfsuite.core.metrics import Direction
from tests.simulator import (
    BLOCK,
    FLEET,
    LAB,
    Law,
    Plan,
    Population,
    Stored,
    draw_suite,
    record_baseline,
    run_suite,
    slow_path,
    slower,
    stretched_tail,
)

MEDIAN = Plan(metrics=("median",))


def generator(*seed: int) -> np.random.Generator:
    return np.random.default_rng([7, *seed])


def found(stored: Stored, draw: np.random.Generator, metric: str, regression: object) -> Verdict:
    """The last verdict on a random cell that became slower."""
    cell = int(draw.integers(stored.plan.cells))
    runs, _ = run_suite(stored, draw, cells=[cell], regression=regression, metrics=[metric])  # type: ignore[arg-type]
    return runs[cell].verdicts[metric]


@pytest.mark.parametrize(("population", "suites"), [(LAB, 20), (FLEET, 10)], ids=["quiet", "free clocks"])
def test_identical_code_has_no_false_alarm_in_any_suite_of_240_gates(population: Population, suites: int) -> None:
    for run in range(suites):
        draw = generator(1, run)
        runs, _ = run_suite(record_baseline(population, Plan(), draw), draw)
        assert not any(cell.failed for cell in runs.values())
        assert sum(cell.sessions for cell in runs.values()) < 1.5 * len(runs)


def test_five_percent_slower_is_found_in_nearly_all_suites() -> None:
    outcomes: Counter[Outcome] = Counter()
    for run in range(40):
        draw = generator(2, run)
        outcomes[found(record_baseline(LAB, MEDIAN, draw), draw, "median", slower(0.05)).outcome] += 1
    assert outcomes[Outcome.REGRESSED] >= 39


@pytest.mark.parametrize(("metric", "n", "above"), [("p95", 300, 0.90), ("p99", 1000, 0.97)])
def test_a_tail_ten_percent_slower_is_found_in_nearly_all_suites(metric: str, n: int, above: float) -> None:
    outcomes: Counter[Outcome] = Counter()
    for run in range(15):
        draw = generator(3, run)
        stored = record_baseline(LAB, Plan(metrics=(metric,), n=n), draw)
        outcomes[found(stored, draw, metric, stretched_tail(0.10, above)).outcome] += 1
    assert outcomes[Outcome.REGRESSED] >= 14


def test_a_slow_path_on_two_percent_of_the_samples_is_found_by_p99_and_leaves_the_median_alone() -> None:
    draw = generator(4)
    stored = record_baseline(LAB, Plan(metrics=("median", "p99"), n=1000), draw)
    regression = slow_path(0.30, 0.02)
    assert found(stored, draw, "p99", regression).outcome is Outcome.REGRESSED
    assert found(stored, draw, "median", regression).outcome is Outcome.PASSED


def test_a_slowdown_of_only_what_lies_beyond_p95_does_not_pass_silently() -> None:
    for run in range(10):
        draw = generator(5, run)
        stored = record_baseline(LAB, Plan(metrics=("p95",), n=300), draw)
        verdict = found(stored, draw, "p95", stretched_tail(0.10, 0.95))
        assert verdict.outcome in (Outcome.REGRESSED, Outcome.INCONCLUSIVE)


def test_p99_of_a_hundred_samples_is_refused_with_the_number_needed() -> None:
    draw = generator(6)
    stored = record_baseline(LAB, Plan(metrics=("p99",)), draw)
    runs, _ = run_suite(stored, draw, regression=stretched_tail(0.5, 0.95))
    said = {(cell.verdicts["p99"].outcome, cell.verdicts["p99"].remedy) for cell in runs.values()}
    assert said == {(Outcome.INCONCLUSIVE, "200 more samples per session (n = 300)")}


def test_a_metric_where_more_is_better_gets_the_same_verdicts_on_reciprocal_samples() -> None:
    draw = generator(7)
    stored = record_baseline(FLEET, MEDIAN, draw)
    noise = fit_noise(list(1 / stored.baseline), "median")
    seen = set()
    for cell, (baseline, first) in enumerate(zip(stored.baseline, stored.baseline[:, :3], strict=True)):
        candidate = first * (0.93 + 0.01 * (cell % 15))
        times = judge(baseline, candidate, noise=stored.noise["median"], gates=240)
        speeds = judge(1 / baseline, 1 / candidate, noise=noise, gates=240, direction=Direction.HIGHER_IS_BETTER)
        assert times.outcome is speeds.outcome
        seen.add(times.outcome)
    assert {Outcome.IMPROVED, Outcome.PASSED, Outcome.REGRESSED} <= seen


def test_speeds_judged_as_if_they_were_times_get_the_opposite_verdict() -> None:
    baseline = draw_suite(LAB, generator(8), 1).sessions(generator(9), 8, 100)[0]
    faster, slowed = baseline[:3] / 1.1, baseline[:3] * 1.1
    assert judge(baseline, slowed).outcome is Outcome.REGRESSED
    assert judge(baseline, slowed, direction=Direction.HIGHER_IS_BETTER).outcome is Outcome.IMPROVED
    assert judge(baseline, faster, direction=Direction.HIGHER_IS_BETTER).outcome is Outcome.REGRESSED


def test_one_cell_with_the_defaults_of_judge_finds_five_percent_at_a_session_sd_of_0_3_percent() -> None:
    outcomes: Counter[tuple[Outcome, Outcome]] = Counter()
    for run in range(60):
        draw = generator(10, run)
        suite = draw_suite(Population(session_sd=(0.003, 0.003)), draw, 1)
        baseline, candidate = suite.sessions(draw, 8, 100)[0], suite.sessions(draw, 3, 100)[0]
        outcomes[judge(baseline, candidate).outcome, judge(baseline, 1.05 * candidate).outcome] += 1
    assert outcomes[Outcome.PASSED, Outcome.REGRESSED] >= 58


def prior_of(common: float) -> Noise:
    draw = generator(11)
    population = Population(session_sd=(0.01, 0.01), body=(0.002, 0.002), common=common)
    return fit_noise(list(draw_suite(population, draw).sessions(draw, 8, 100)), "median")


def test_cells_that_move_together_are_no_more_evidence_than_one_of_them() -> None:
    apart, together = prior_of(0.0), prior_of(1.0)
    assert apart.pool_df > 200
    assert together.pool_df < 9


def test_suites_whose_sessions_are_slow_as_a_whole_have_no_false_alarm() -> None:
    for run in range(15):
        draw = generator(12, run)
        runs, _ = run_suite(record_baseline(Population(session_sd=(0.003, 0.006), law=Law.HOST), MEDIAN, draw), draw)
        assert not any(cell.failed for cell in runs.values())


def test_the_simulator_draws_the_spread_it_was_asked_for() -> None:
    population = Population(session_sd=(0.01, 0.01), body=(0.005, 0.005), memory=(0.5, 0.5), spikes=(1e-9, 1e-9))
    suite = draw_suite(population, generator(13), 200)
    logs = np.log(suite.sessions(generator(14), 20, 100))
    assert np.median(logs, axis=2).std(axis=1, ddof=1).mean() == pytest.approx(0.01, rel=0.05)
    inside = logs - logs.mean(axis=2, keepdims=True)
    assert inside.std() == pytest.approx(0.005, rel=0.1)
    blocks = inside.reshape(200, 20, -1, BLOCK)
    assert (blocks[..., 1:] * blocks[..., :-1]).mean() / inside.var() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("law", list(Law))
def test_every_law_draws_sessions_that_can_be_read(law: Law) -> None:
    suite = draw_suite(Population(session_sd=(0.002, 0.006), law=law, stepping=1.0), generator(15), 3)
    sessions = suite.sessions(generator(16), 2, 50, cells=[0, 2])
    assert sessions.shape == (2, 2, 50)
    assert (sessions > 0).all()
