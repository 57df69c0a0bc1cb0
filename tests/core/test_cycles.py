"""Times in SM cycles, and slowdowns that are the clock's."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from perfsuite.core.cycles import mean_clock, median_cycles, usual_clock, with_cycles
from perfsuite.core.metrics import parse_metric
from perfsuite.core.reading import Monitoring
from perfsuite.core.recording import Recording
from perfsuite.core.rules import POWER_CAP
from perfsuite.core.sample import Phase
from perfsuite.core.verdict import Outcome
from tests.builders import make_recording, make_sample, make_verdict
from tests.watched import STEP_NS, device_readings

TTFT = parse_metric("ttft.p50", where="test")


def clocked(mhz: Sequence[int], *, ttft_ms: float = 40.0, reasons: int = 0) -> Recording:
    """A request every tenth of a second, each with a reading of its own 20 ms after it was sent."""
    samples = tuple(
        replace(make_sample(Phase.PREFILL, 1, ttft_ms=ttft_ms), sent_ns=(index + 1) * STEP_NS - 20_000_000)
        for index in range(len(mhz))
    )
    seen = Monitoring(device=device_readings(mhz, dict.fromkeys(range(len(mhz)), reasons)))
    return replace(make_recording(), samples=samples, monitoring=seen)


def test_a_time_in_cycles_is_the_time_times_the_clock_beside_it() -> None:
    """40 ms at 1 GHz are 40 million cycles, at 2 GHz 80."""
    assert median_cycles(TTFT, [clocked([1000, 1000, 2000])]) == pytest.approx(40e6)
    assert median_cycles(TTFT, [clocked([1000]), clocked([4000])]) == pytest.approx(80e6)


def test_without_clocks_in_every_session_there_are_no_cycles() -> None:
    assert median_cycles(TTFT, [clocked([1000]), make_recording()]) is None
    assert (mean_clock([make_recording()]), usual_clock([make_recording()])) == (None, None)


def test_the_usual_clock_leaves_the_power_cap_out_and_the_mean_does_not() -> None:
    both = [clocked([1980] * 10), clocked([1500] * 10, reasons=POWER_CAP)]
    assert (usual_clock(both), mean_clock(both)) == (1980, 1740)


def judged(
    before_mhz: int, after_mhz: int, after_ms: float, outcome: Outcome = Outcome.REGRESSED
) -> tuple[Outcome, str]:
    """40 ms at one clock became `after_ms` at another; 5 % is the tolerance."""
    stored, measured = [clocked([before_mhz] * 10)], [clocked([after_mhz] * 10, ttft_ms=after_ms)]
    verdict = with_cycles(make_verdict(outcome, reason="3 of 3"), TTFT, stored, measured)
    return verdict.outcome, verdict.reason


def test_a_slowdown_that_vanishes_in_cycles_is_a_clock_change_and_left_undecided() -> None:
    """40 ms * 2000 MHz = 44 ms * 1818 MHz, but for a hundredth of a percent."""
    outcome, reason = judged(2000, 1818, 44.0)
    assert outcome is Outcome.INCONCLUSIVE
    assert reason == (
        "a clock change, not a regression: the mean SM clock went from 2000 to 1818 MHz, in cycles -0.0 %"
    )


@pytest.mark.parametrize(("after_mhz", "after_ms"), [(2000, 44.0), (1960, 44.0), (2100, 41.0)])
def test_a_slowdown_that_is_there_in_cycles_as_well_stays_a_regression(after_mhz: int, after_ms: float) -> None:
    assert judged(2000, after_mhz, after_ms) == (Outcome.REGRESSED, "3 of 3")


def test_cycles_never_take_a_pass_back() -> None:
    assert judged(2000, 1500, 40.0, Outcome.PASSED) == (Outcome.PASSED, "3 of 3")


def test_the_change_in_cycles_is_told() -> None:
    verdict = with_cycles(make_verdict(), TTFT, [clocked([2000] * 10)], [clocked([1000] * 10, ttft_ms=88.0)])
    assert verdict.cycles_change == pytest.approx(0.10)
