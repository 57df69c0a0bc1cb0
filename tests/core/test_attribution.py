"""Which of host and device moved, where both timed the same quantity."""

from dataclasses import replace

import pytest

from perfsuite.core.attribution import attributed
from perfsuite.core.verdict import Outcome, Verdict

MS = 1e6
REGRESSED, IMPROVED, PASSED, OPEN = Outcome.REGRESSED, Outcome.IMPROVED, Outcome.PASSED, Outcome.INCONCLUSIVE


def verdict(metric: str, outcome: Outcome, baseline_ms: float, candidate_ms: float) -> Verdict:
    return Verdict(
        metric=metric,
        outcome=outcome,
        tolerance=0.05,
        baseline=baseline_ms * MS,
        candidate=candidate_ms * MS,
        change=candidate_ms / baseline_ms - 1,
    )


def moved(*verdicts: Verdict) -> list[str]:
    return [each.moved for each in attributed(verdicts)]


DEVICE_PASSED = verdict("ttft_device.p50", PASSED, 20.0, 20.02)


def test_a_slower_host_before_a_steady_device_is_named() -> None:
    slower = verdict("ttft.p50", REGRESSED, 40.0, 44.0)
    assert moved(slower, DEVICE_PASSED) == ["host +10.0 %, device +0.1 %: the host got slower", ""]


def test_a_device_that_makes_up_the_host_s_change_is_named() -> None:
    """The host waits 2 ms longer, all of it for the device."""
    host, device = verdict("ttft.p50", REGRESSED, 40.0, 42.0), verdict("ttft_device.p50", REGRESSED, 20.0, 22.0)
    told = "host +5.0 %, device +10.0 %: the device got slower"
    assert moved(host, device) == [told, told]


@pytest.mark.parametrize(("device_ms", "mover"), [(22.0, "device"), (21.9, "host")])
def test_the_device_is_named_once_it_makes_up_half_of_the_change(device_ms: float, mover: str) -> None:
    host, device = verdict("ttft.p50", REGRESSED, 40.0, 44.0), verdict("ttft_device.p50", PASSED, 20.0, device_ms)
    assert moved(host, device)[0].endswith(f": the {mover} got slower")


def test_a_device_s_own_verdict_always_names_the_device() -> None:
    host, device = verdict("tpot.p50", PASSED, 40.0, 40.0), verdict("tpot_device.p50", REGRESSED, 1.0, 1.1)
    assert moved(host, device) == ["", "host +0.0 %, device +10.0 %: the device got slower"]


def test_what_improved_got_faster() -> None:
    faster = verdict("ttft.p50", IMPROVED, 40.0, 36.0)
    assert moved(faster, DEVICE_PASSED)[0] == "host -10.0 %, device +0.1 %: the host got faster"


def test_an_undecided_verdict_says_the_numbers_alone() -> None:
    assert moved(verdict("ttft.p50", OPEN, 40.0, 42.0), DEVICE_PASSED)[0] == "host +5.0 %, device +0.1 %"


@pytest.mark.parametrize("outcome", [PASSED, Outcome.INVALID, Outcome.INCOMPARABLE, Outcome.NO_BASELINE])
def test_other_verdicts_say_nothing(outcome: Outcome) -> None:
    assert moved(verdict("ttft.p50", outcome, 40.0, 42.0), DEVICE_PASSED)[0] == ""


@pytest.mark.parametrize("metric", ["e2e.p50", "ttft.p50"])
def test_without_the_other_clock_nothing_is_said(metric: str) -> None:
    assert moved(verdict(metric, REGRESSED, 40.0, 44.0)) == [""]


def test_another_statistic_of_the_device_is_no_answer() -> None:
    assert moved(verdict("ttft.p99", REGRESSED, 40.0, 44.0), DEVICE_PASSED)[0] == ""


def test_a_device_that_was_not_compared_is_no_answer() -> None:
    unknown = Verdict(metric="ttft_device.p50", outcome=Outcome.INVALID, tolerance=0.02)
    assert moved(verdict("ttft.p50", REGRESSED, 40.0, 44.0), unknown)[0] == ""


def test_nothing_but_the_sentence_is_added() -> None:
    found = (verdict("ttft.p50", REGRESSED, 40.0, 44.0), DEVICE_PASSED)
    assert tuple(replace(each, moved="") for each in attributed(found)) == found
