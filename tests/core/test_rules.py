"""When the machine was disturbed, by what, and what is usual and disturbs nobody."""

from typing import Any

import pytest

from perfsuite.core.reading import Monitoring, Place
from perfsuite.core.rules import (
    HARDWARE_THERMAL,
    IDLE,
    POWER_BRAKE,
    POWER_CAP,
    SLOWDOWN,
    SOFTWARE_THERMAL,
    THRESHOLDS,
    Cause,
    Stretch,
    stretches,
)
from tests.watched import STEP_NS, USUAL_MHZ, calm_monitoring, device_readings, host_readings, neighbour

APPLICATION_CLOCKS, SYNC_BOOST, DISPLAY_CLOCKS = 0x2, 0x10, 0x100


def found_on_device(*args: Any, **kwargs: Any) -> tuple[Stretch, ...]:
    return stretches(Monitoring(device=device_readings(*args, **kwargs)))


def found_on_host(**changes: Any) -> tuple[Stretch, ...]:
    return stretches(Monitoring(host=host_readings(changes={4: changes})))


def test_a_calm_machine_has_no_findings() -> None:
    assert stretches(calm_monitoring()) == ()


def test_what_nobody_could_read_is_no_finding() -> None:
    assert stretches(Monitoring(not_monitored=("the GPU: no permission",))) == ()


@pytest.mark.parametrize(
    ("bit", "words"),
    [
        (HARDWARE_THERMAL, "too hot"),
        (SOFTWARE_THERMAL, "too hot"),
        (POWER_BRAKE, "power brake"),
        (SLOWDOWN, "hardware slowdown"),
        (SLOWDOWN | POWER_BRAKE, "power brake"),
    ],
)
def test_clocks_lowered_by_heat_hardware_or_power_supply_are_found_around_their_reading(bit: int, words: str) -> None:
    (stretch,) = found_on_device(reasons={4: bit})
    assert (stretch.begin_ns, stretch.end_ns, stretch.cause) == (4 * STEP_NS, 6 * STEP_NS, Cause.THROTTLE)
    assert words in stretch.detail


@pytest.mark.parametrize("bit", [IDLE, POWER_CAP, APPLICATION_CLOCKS, SYNC_BOOST, DISPLAY_CLOCKS])
def test_the_power_cap_and_other_usual_reasons_are_no_finding(bit: int) -> None:
    assert found_on_device(reasons=dict.fromkeys(range(10), bit)) == ()


def test_a_throttle_that_lasts_is_one_stretch() -> None:
    (stretch,) = found_on_device(reasons=dict.fromkeys(range(3, 7), HARDWARE_THERMAL))
    assert (stretch.begin_ns, stretch.end_ns) == (3 * STEP_NS, 8 * STEP_NS)


@pytest.mark.parametrize(("mhz", "is_found"), [(1890, False), (2070, False), (1875, True), (2085, True)])
def test_a_clock_more_than_five_percent_off_its_median_is_found(mhz: int, is_found: bool) -> None:
    clocks = (*(USUAL_MHZ,) * 5, mhz, *(USUAL_MHZ,) * 5)
    assert [stretch.cause for stretch in found_on_device(clocks)] == [Cause.CLOCK] * is_found


def test_a_clock_that_wanders_says_from_where_to_where() -> None:
    (stretch,) = found_on_device((*(USUAL_MHZ,) * 5, 1500, *(USUAL_MHZ,) * 5))
    assert stretch.detail == "the SM clock was at 1500 MHz, 1980 MHz are usual here"


def test_a_long_prefill_at_the_power_cap_makes_no_finding() -> None:
    """The clock wanders by a fifth and recovers while the bit is already cleared."""
    clocks = (*(1980,) * 9, 1800, 1650, 1700, 1750, 1800, 1850, *(1980,) * 9)
    assert found_on_device(clocks, reasons=dict.fromkeys((9, 10, 11), POWER_CAP)) == ()


def test_a_clock_that_is_low_long_after_the_power_cap_is_found() -> None:
    clocks = (*(1980,) * 9, 1800, 1980, 1980, 1980, 1980, 1800, *(1980,) * 9)
    (stretch,) = found_on_device(clocks, reasons={9: POWER_CAP})
    assert stretch.begin_ns == 14 * STEP_NS


def test_a_clock_that_fell_asleep_between_requests_makes_no_finding() -> None:
    clocks = (1980, 1980, 345, 345, *(1980,) * 9)
    assert found_on_device(clocks, reasons=dict.fromkeys((2, 3), IDLE)) == ()


def test_a_clock_without_its_reasons_is_not_judged() -> None:
    readings = device_readings((*(USUAL_MHZ,) * 8, 1000))
    blind = tuple(type(each)(at_ns=each.at_ns, span_ns=each.span_ns, sm_mhz=each.sm_mhz) for each in readings)
    assert stretches(Monitoring(device=blind)) == ()


def test_four_readings_are_too_few_for_a_clock_to_wander() -> None:
    assert found_on_device((1980, 1980, 1980, 1000)) == ()


def test_another_process_on_the_gpu_is_found_with_its_id_for_as_long_as_it_was_seen() -> None:
    (stretch,) = stretches(Monitoring(neighbours=(neighbour(7 * STEP_NS),)))
    assert (stretch.begin_ns, stretch.end_ns) == (2 * STEP_NS, 7 * STEP_NS)
    assert stretch.detail == "process 4242 (burn) used 63 % of the GPU"


def test_a_process_whose_use_nobody_tells_counts_as_using_it() -> None:
    (stretch,) = stretches(Monitoring(neighbours=(neighbour(share=None),)))
    assert stretch.detail == "process 4242 (burn) was on the GPU"


@pytest.mark.parametrize("other", [neighbour(share=0.01), neighbour(place=Place.HOST, share=2.0)])
def test_memory_only_and_busy_processes_of_the_host_are_no_finding(other: Any) -> None:
    """A shared host always has busy neighbours; canaries see what they cost."""
    assert stretches(Monitoring(neighbours=(other,))) == ()


def test_a_stopped_process_is_found() -> None:
    (stretch,) = found_on_host(is_stopped=True)
    assert (stretch.cause, stretch.detail) == (Cause.STOPPED, "the measured process was stopped")


@pytest.mark.parametrize(("span_s", "is_found"), [(0.9, False), (1.2, True)])
def test_a_sampler_that_stood_still_for_a_second_is_found(span_s: float, is_found: bool) -> None:
    found = found_on_host(span_ns=round(span_s * 1e9), at_ns=5 * STEP_NS)
    assert [stretch.detail for stretch in found] == ["the sampler stood still for 1.20 s"] * is_found


def test_a_stalled_sampler_is_told_by_the_gpu_where_the_host_cannot_be_read() -> None:
    slow = tuple(type(each)(at_ns=each.at_ns, span_ns=2 * 10**9) for each in device_readings((1980,)))
    assert [stretch.cause for stretch in stretches(Monitoring(device=slow))] == [Cause.STALLED]


@pytest.mark.parametrize(
    ("swapped", "waited", "is_found"), [(8, 2, True), (8, 0, False), (0, 5, False)], ids=["own", "others'", "a file's"]
)
def test_swapping_is_found_where_the_measured_process_waited_for_it(swapped: int, waited: int, is_found: bool) -> None:
    found = found_on_host(swapped_in=swapped, waited_pages=waited)
    assert [stretch.cause for stretch in found] == [Cause.SWAP] * is_found


@pytest.mark.parametrize(("share", "is_found"), [(0.05, False), (0.15, True)])
def test_a_quota_that_held_the_group_back_for_a_tenth_of_the_time_is_found(share: float, is_found: bool) -> None:
    found = found_on_host(throttled_ns=round(share * STEP_NS))
    assert [stretch.cause for stretch in found] == [Cause.QUOTA] * is_found


@pytest.mark.parametrize(("share", "is_found"), [(0.15, False), (0.25, True)])
def test_a_fifth_of_all_cores_stolen_is_found(share: float, is_found: bool) -> None:
    found = found_on_host(steal_ns=round(share * 2 * STEP_NS))
    assert [stretch.detail for stretch in found] == ["the hypervisor took 25 % of the processors' time"] * is_found


def test_every_cause_has_a_threshold_with_a_reason() -> None:
    assert set(THRESHOLDS) == set(Cause)
    assert all(threshold.why for threshold in THRESHOLDS.values())
