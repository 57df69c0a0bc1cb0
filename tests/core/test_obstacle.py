"""Clocks that keep a candidate from being compared."""

import pytest

from perfsuite.core.obstacle import obstacle_to
from perfsuite.core.options import GateOptions
from perfsuite.core.recording import Recording
from perfsuite.core.rules import POWER_CAP
from perfsuite.core.verdict import Outcome
from tests.builders import make_baseline, make_recording
from tests.core.test_cycles import clocked


def outcome(stored: Recording, measured: Recording) -> tuple[Outcome, str] | None:
    found = obstacle_to(make_baseline(stored), (measured,), GateOptions(), "pytest --save-baseline")
    return (found.outcome, found.reason) if found else None


@pytest.mark.parametrize("mhz", [1900, 1980, 2070])
def test_clocks_within_five_percent_of_the_baselines_are_compared(mhz: int) -> None:
    assert outcome(clocked([1980] * 10), clocked([mhz] * 10)) is None


def test_another_clock_than_the_baselines_is_invalid_and_says_both() -> None:
    assert outcome(clocked([1980] * 10), clocked([1500] * 10)) == (
        Outcome.INVALID,
        "the SM clock is 1500 MHz, the baseline's was 1980 MHz (-24.2 %, 5 % are allowed)",
    )


def test_a_clock_at_its_power_cap_is_no_other_clock() -> None:
    assert outcome(clocked([1980] * 10), clocked([1500] * 10, reasons=POWER_CAP)) is None


def test_a_baseline_without_readings_is_compared() -> None:
    assert outcome(make_recording(n=10), clocked([1500] * 10)) is None
