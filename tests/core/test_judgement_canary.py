"""The judgement of a cell on a host that changes its speed: divided by a canary, or void where that left its range."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from perfsuite.core.baseline import Baseline
from perfsuite.core.canary import Canary, Mode
from perfsuite.core.judgement import judge_cell, suite_noise
from perfsuite.core.metrics import SERIES, Direction, parse_metric
from perfsuite.core.options import GateOptions
from perfsuite.core.recording import Recording
from perfsuite.core.verdict import Outcome, Verdict
from tests.builders import make_baseline, make_cell, make_readings, make_recording

TTFT, TPOT, DEVICE = (parse_metric(text, where="test") for text in ("ttft.p50", "tpot.p50", "ttft_device.p50"))
TTFT_BY_HOST = {"ttft.p50": Mode(canary=Canary.HOST, weight=1.0, reference_ns=1e6)}
BLOCKS = 3
WANDERING = (0.94, 0.96, 0.98, 1.0, 1.0, 1.02, 1.04, 1.06)
"""How slow the host was in each of a baseline's sessions; its canary may move by 18 %."""


def session(index: int, ttft_ms: float, canary_ms: Sequence[float], *, device_canary_ms: float = 1.0) -> Recording:
    """Three blocks of 20 samples scattered by 2 %, the host's canary beside each, and the device's time and canary."""
    made = make_recording(session=index, ttft_ms=ttft_ms, n=20 * BLOCKS, decode=10, noise=0.02, device=True)
    read = {Canary.HOST: canary_ms, Canary.DEVICE: (device_canary_ms,) * BLOCKS}
    return replace(made, canaries=make_readings(read))


def on_hosts(factors: Sequence[float], *, ttft_ms: float = 40.0, first: int = 0) -> tuple[Recording, ...]:
    """A session on each of these hosts; samples and canary take so many times as long."""
    return tuple(session(first + index, ttft_ms * factor, (factor,) * BLOCKS) for index, factor in enumerate(factors))


DIVIDED = replace(make_baseline(*on_hosts(WANDERING)), modes=TTFT_BY_HOST)
RAW = replace(DIVIDED, modes={})
QUIET = make_baseline(*on_hosts((1.0,) * 8))
"""Its canary may move by 3 %."""


def verdict(baseline: Baseline, recordings: Sequence[Recording], metric: str = "ttft.p50") -> Verdict:
    found = judge_cell(
        make_cell(),
        baseline,
        tuple(recordings),
        tolerances={TTFT: 0.05, TPOT: 0.05, DEVICE: 0.02},
        gates=2,
        options=GateOptions(),
    ).verdict(metric)
    assert found is not None
    return found


def test_a_slower_host_that_its_canary_tells_of_passes() -> None:
    candidate = on_hosts((1.1, 1.1, 1.1), first=10)
    assert verdict(DIVIDED, candidate).outcome is Outcome.PASSED
    assert verdict(RAW, candidate).outcome is not Outcome.PASSED


def test_a_slowdown_that_the_canary_does_not_share_regresses() -> None:
    candidate = on_hosts((0.95, 1.0, 1.05), ttft_ms=44.0, first=10)
    found = verdict(DIVIDED, candidate)
    assert (found.outcome, round(found.change or 0, 2)) == (Outcome.REGRESSED, 0.1)
    assert verdict(RAW, candidate).outcome is Outcome.INCONCLUSIVE


def test_a_slowdown_that_a_faster_host_hides_regresses() -> None:
    candidate = on_hosts((0.91, 0.91, 0.91), ttft_ms=44.0, first=10)
    assert verdict(DIVIDED, candidate).outcome is Outcome.REGRESSED
    assert verdict(RAW, candidate).outcome is not Outcome.REGRESSED


def test_a_verdict_tells_its_mode() -> None:
    candidate = on_hosts((1.0,), first=10)
    assert (verdict(DIVIDED, candidate).mode, verdict(DIVIDED, candidate, "tpot.p50").mode) == ("host^1.00", "raw")


def test_levels_are_told_at_the_reference_speed() -> None:
    found = verdict(DIVIDED, on_hosts((1.1, 1.1, 1.1), first=10))
    assert found.baseline == pytest.approx(40e6, rel=0.01)
    assert found.candidate == pytest.approx(40e6, rel=0.01)


def test_the_suites_noise_is_what_the_canary_leaves() -> None:
    """Raw sessions differ by 4 %, divided ones by what 60 samples scattered by 2 % leave."""
    raw, divided = (suite_noise([baseline], (TTFT,))["ttft.p50"].level_sd for baseline in (RAW, DIVIDED))
    assert raw == pytest.approx(0.04, rel=0.1)
    assert divided == pytest.approx(0, abs=0.005)


def test_a_block_beside_which_the_canary_left_its_range_takes_no_part() -> None:
    found = verdict(QUIET, (session(10, 40.0, (1.0, 1.2, 1.0)),))
    assert (found.outcome, found.samples, found.void) == (Outcome.PASSED, 40, "1 of 3 blocks void")


def test_a_verdict_on_whole_sessions_names_no_void_block() -> None:
    assert verdict(QUIET, on_hosts((1.0,), first=10)).void == ""


@pytest.mark.parametrize("count", [1, 2])
def test_void_sessions_ask_for_another_one(count: int) -> None:
    found = verdict(QUIET, on_hosts((1.2,) * count, first=10))
    assert (found.outcome, found.sessions_help, found.remedy) == (Outcome.INCONCLUSIVE, True, "1 more session")
    assert found.reason == (
        f"environment: {count} of {count} sessions void: "
        "the host canary left its range beside 3 of 3 blocks, by up to +20.0 % where 3.0 % is allowed"
    )


@pytest.mark.parametrize("factors", [(1.2, 1.2, 1.2), (1.2, 1.0, 1.2, 1.0, 1.2)])
def test_three_void_sessions_are_the_environment_s_for_good(factors: tuple[float, ...]) -> None:
    found = verdict(QUIET, on_hosts(factors, first=10))
    assert (found.outcome, found.sessions_help) == (Outcome.INCONCLUSIVE, False)
    assert found.reason.startswith(f"environment: 3 of {len(factors)} sessions void: ")
    assert found.remedy == "a machine as quiet as for the baseline, or a new baseline"


def test_a_void_session_among_others_is_left_out_and_told() -> None:
    found = verdict(QUIET, on_hosts((1.0, 1.2, 1.0), first=10))
    assert (found.outcome, found.candidate_sessions, found.void) == (Outcome.PASSED, 2, "3 of 9 blocks void")


def test_void_sessions_turn_nothing_red() -> None:
    assert verdict(QUIET, on_hosts((1.2, 1.2, 1.2), ttft_ms=60.0, first=10)).outcome is Outcome.INCONCLUSIVE


def test_device_time_is_judged_while_the_host_is_void() -> None:
    found = verdict(QUIET, on_hosts((1.2,), ttft_ms=40 / 1.2, first=10), "ttft_device.p50")
    assert (found.outcome, found.void) == (Outcome.PASSED, "")


def test_device_time_is_void_where_the_device_s_canary_left_its_range() -> None:
    slow = session(10, 40.0, (1.0,) * BLOCKS, device_canary_ms=1.1)
    assert verdict(QUIET, (slow,), "ttft_device.p50").reason.startswith("environment: 1 of 1 sessions void: the device")
    assert verdict(QUIET, (slow,)).outcome is Outcome.PASSED


def test_a_candidate_without_the_canary_of_its_baseline_is_void() -> None:
    bare = replace(on_hosts((1.0,), first=10)[0], canaries=())
    assert verdict(DIVIDED, (bare,)).reason == (
        "environment: 1 of 1 sessions void: there is no reading of the host canary beside 3 of 3 blocks"
    )


@pytest.mark.parametrize(("ttft_ms", "outcome"), [(44.0, Outcome.IMPROVED), (36.0, Outcome.REGRESSED)])
def test_a_mirrored_metric_flips_the_verdict(ttft_ms: float, outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = on_hosts((1.0, 1.0, 1.0), ttft_ms=ttft_ms, first=10)
    usual = verdict(QUIET, candidate).outcome
    mirrored = replace(SERIES["ttft"], direction=Direction.HIGHER_IS_BETTER)
    monkeypatch.setattr("perfsuite.core.metrics.SERIES", {**SERIES, "ttft": mirrored})
    assert {usual, outcome} == {Outcome.REGRESSED, Outcome.IMPROVED}
    assert verdict(QUIET, candidate).outcome is outcome


def test_which_of_host_and_device_moved_is_said() -> None:
    found = verdict(QUIET, on_hosts((1.0, 1.0, 1.0), ttft_ms=44.0, first=10))
    assert found.moved.startswith("host +9.8 %, device +9.8 %: the ")
