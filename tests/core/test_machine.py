"""What the gate sees of a session: its samples as measured, divided by a canary, or void."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from perfsuite.core.canary import RAW, Canary, CanaryReading, Mode
from perfsuite.core.machine import Range, block_factors, canary_ranges, matched, seen, thinned
from perfsuite.core.metrics import SERIES, parse_metric
from perfsuite.core.recording import Recording
from tests.builders import make_block_recording, make_recording

TTFT, TTFT_DEVICE = (parse_metric(text, where="test") for text in ("ttft.p50", "ttft_device.p50"))
MS = 1e6
AT_1_MS = Range(center_ns=MS, reach=math.log(1.1))
HALVED = Mode(canary=Canary.HOST, weight=1.0, reference_ns=MS)


def session(*host_ms: float, **others: Sequence[float]) -> Recording:
    """A block of one sample of 40 ms beside every reading of the host canary (0: not read); others by their names."""
    read: Mapping[Canary, Sequence[float]] = {
        Canary.HOST: host_ms,
        **{Canary(name): values for name, values in others.items()},
    }
    return make_block_recording([[40.0]] * len(host_ms), read)


def test_values_are_kept_by_the_block_they_were_taken_in() -> None:
    recording = make_block_recording([[40.0, 41.0], [42.0]])
    assert SERIES["ttft"].by_block(recording) == {0: (40 * MS, 41 * MS), 1: (42 * MS,)}


def test_the_values_of_all_blocks_are_the_values_of_the_session() -> None:
    recording = make_recording(n=50, decode=5, noise=0.1)
    for series in SERIES.values():
        assert tuple(chain.from_iterable(series.by_block(recording).values())) == series.values(recording)


def test_a_block_without_a_value_of_the_series_is_absent() -> None:
    assert SERIES["tpot"].by_block(make_block_recording([[40.0]])) == {}


@pytest.mark.parametrize(
    ("name", "sibling"),
    [("ttft", "ttft_device"), ("ttft_device", "ttft"), ("tpot_device", "tpot"), ("itl", "itl"), ("e2e", "e2e")],
)
def test_the_sibling_of_a_series_is_the_same_by_the_other_clock(name: str, sibling: str) -> None:
    assert SERIES[name].sibling == sibling


def test_a_series_by_the_devices_clock_knows_it() -> None:
    assert {name for name, series in SERIES.items() if series.is_device} == {"ttft_device", "tpot_device"}


def test_a_canary_is_expected_at_its_median_over_all_sessions() -> None:
    assert canary_ranges([session(1.0, 2.0), session(10.0)])[Canary.HOST].center_ns == 2 * MS


def test_a_canary_may_move_by_four_of_its_standard_deviations() -> None:
    """Two logarithms 0.2 apart have a standard deviation of 0.2 / sqrt 2."""
    reach = canary_ranges([session(1.0), session(math.exp(0.2))])[Canary.HOST].reach
    assert reach == pytest.approx(4 * 0.2 / math.sqrt(2), rel=1e-5)


@pytest.mark.parametrize("readings", [(1.0,), (1.0, 1.0, 1.0), (1.0, 1.001)])
def test_a_canary_that_hardly_moved_may_move_by_three_percent(readings: tuple[float, ...]) -> None:
    assert canary_ranges([session(*readings)])[Canary.HOST].reach == pytest.approx(math.log(1.03))


def test_each_canary_has_its_own_range() -> None:
    ranges = canary_ranges([session(1.0, 1.0, graph=(5.0, 5.0))])
    assert {canary: place.center_ns for canary, place in ranges.items()} == {Canary.HOST: MS, Canary.GRAPH: 5 * MS}


def test_sessions_without_canaries_have_no_ranges() -> None:
    assert canary_ranges([make_recording()]) == {}


@pytest.mark.parametrize(("times", "held"), [(1.0, True), (1.09, True), (1.11, False), (1 / 1.09, True), (0.9, False)])
def test_a_range_reaches_as_far_up_as_down_on_the_scale_of_ratios(times: float, held: bool) -> None:
    assert AT_1_MS.holds(times * MS) is held


def test_without_a_mode_and_ranges_the_values_are_those_taken() -> None:
    view = seen(TTFT, make_block_recording([[40.0], [41.0]]))
    assert (view.values, view.blocks, view.void_blocks, view.void) == ((40 * MS, 41 * MS), 2, 0, None)


def test_a_canary_at_half_its_speed_halves_the_values_of_its_block() -> None:
    recording = make_block_recording([[40.0, 42.0], [40.0]], {Canary.HOST: (2.0, 1.0)})
    assert seen(TTFT, recording, HALVED).values == (20 * MS, 21 * MS, 40 * MS)


def test_the_weight_is_the_power_of_the_ratio() -> None:
    mode = Mode(canary=Canary.HOST, weight=0.5, reference_ns=MS)
    factors = block_factors(session(4.0, 1.0, 0.25), mode, range(3))
    assert factors == pytest.approx({0: 0.5, 1: 1.0, 2: 2.0})


def test_raw_samples_are_multiplied_by_one() -> None:
    assert block_factors(session(4.0, 0.0), RAW, range(2)) == {0: 1.0, 1: 1.0}


def test_only_the_canary_of_the_mode_divides() -> None:
    assert seen(TTFT, session(1.0, graph=(2.0,)), HALVED).values == (40 * MS,)


def test_a_block_beside_which_a_canary_left_its_range_is_void() -> None:
    recording = make_block_recording([[40.0], [41.0], [42.0]], {Canary.HOST: (1.0, 1.2, 1.0)})
    view = seen(TTFT, recording, ranges={Canary.HOST: AT_1_MS})
    assert (view.values, view.blocks, view.void_blocks, view.void) == ((40 * MS, 42 * MS), 3, 1, None)


def test_a_machine_that_got_faster_voids_as_well() -> None:
    assert seen(TTFT, session(1.0, 0.8), ranges={Canary.HOST: AT_1_MS}).void_blocks == 1


def test_a_session_holds_while_more_than_half_of_its_blocks_do() -> None:
    view = seen(TTFT, session(1.0, 1.0, 1.2), ranges={Canary.HOST: AT_1_MS})
    assert (view.void, len(view.values)) == (None, 2)


def test_a_session_is_void_once_half_of_its_blocks_are() -> None:
    assert seen(TTFT, session(1.0, 1.0, 1.2, 1.2), ranges={Canary.HOST: AT_1_MS}).void is not None


def test_the_reason_of_a_void_session_names_canary_and_range() -> None:
    view = seen(TTFT, session(1.0, 1.2, 1.3), ranges={Canary.HOST: AT_1_MS})
    assert (view.values, view.void_blocks) == ((), 2)
    assert view.void == (
        "the host canary left its range beside 2 of 3 blocks, by up to +30.0 % where 10.0 % is allowed"
    )


def test_the_farthest_of_all_canaries_is_named() -> None:
    recording = session(1.2, 1.2, 1.0, forward=(1.0, 1.0, 0.5))
    view = seen(TTFT, recording, ranges={Canary.HOST: AT_1_MS, Canary.FORWARD: AT_1_MS})
    assert view.void == (
        "the forward canary left its range beside 3 of 3 blocks, by up to -50.0 % where 10.0 % is allowed"
    )


def test_a_canary_that_the_baseline_never_read_voids_nothing() -> None:
    assert seen(TTFT, session(9.0), ranges={Canary.FORWARD: AT_1_MS}).void_blocks == 0


def test_a_block_without_the_canary_that_divides_it_is_void() -> None:
    view = seen(TTFT, session(2.0, 0.0, 2.0), HALVED)
    assert (view.values, view.void_blocks) == ((20 * MS, 20 * MS), 1)


def test_a_session_without_the_canary_that_divides_it_is_void() -> None:
    assert seen(TTFT, session(0.0, 0.0), HALVED).void == "there is no reading of the host canary beside 2 of 2 blocks"


RANGES = {Canary.HOST: AT_1_MS, Canary.DEVICE: AT_1_MS}


def both(*, host_ms: float, device_ms: float) -> Recording:
    read = {Canary.HOST: (host_ms,), Canary.DEVICE: (device_ms,)}
    return make_block_recording([[40.0]], read, device=True)


def test_a_slow_host_voids_no_device_time() -> None:
    recording = both(host_ms=9.0, device_ms=1.0)
    assert seen(TTFT_DEVICE, recording, ranges=RANGES).values == (20 * MS,)
    assert seen(TTFT, recording, ranges=RANGES).void is not None


def test_a_slow_device_voids_device_time_alone() -> None:
    recording = both(host_ms=1.0, device_ms=9.0)
    assert seen(TTFT_DEVICE, recording, ranges=RANGES).void is not None
    assert seen(TTFT, recording, ranges=RANGES).values == (40 * MS,)


def test_a_series_without_values_is_not_void() -> None:
    view = seen(parse_metric("tpot.p50", where="test"), session(9.0), ranges={Canary.HOST: AT_1_MS})
    assert (view.values, view.void) == ((), None)


@pytest.mark.parametrize("duration_ns", [0, -5])
def test_a_reading_takes_time(duration_ns: int) -> None:
    with pytest.raises(ValueError, match=f"^the host canary took {duration_ns} ns; it must be above 0$"):
        CanaryReading(block=0, canary=Canary.HOST, duration_ns=duration_ns)


@pytest.mark.parametrize(("weight", "reference_ns"), [(0.0, 1.0), (-0.1, 1.0), (2.1, 1.0), (math.nan, 1.0), (1.0, 0.0)])
def test_a_canary_divides_with_a_weight_above_zero_and_a_reference(weight: float, reference_ns: float) -> None:
    with pytest.raises(ValueError, match="the weight must be above 0 and at most 2, the reference above 0"):
        Mode(canary=Canary.HOST, weight=weight, reference_ns=reference_ns)


def test_raw_samples_have_no_weight() -> None:
    with pytest.raises(ValueError, match="raw samples have no weight"):
        Mode(weight=0.5)


def test_a_mode_is_named_by_its_canary_and_weight() -> None:
    assert (RAW.label, Mode(canary=Canary.FORWARD, weight=0.613).label) == ("raw", "forward^0.61")


def drifting(void_until: int = 0) -> Recording:
    """Sixteen blocks, the last 8 % slower than the first; the canary is out of its range beside the first few."""
    host = [1.2 if block < void_until else 1.0 for block in range(16)]
    return make_block_recording([[40 * (1 + 0.08 * block / 15)] * 4 for block in range(16)], {Canary.HOST: host})


def test_sessions_that_lost_their_early_blocks_are_compared_with_late_blocks_alone() -> None:
    views = [seen(TTFT, drifting(lost), ranges={Canary.HOST: AT_1_MS}) for lost in (0, 0, 7)]
    sides = matched(views[:2], views[2:])
    assert [side.tolist() for side in sides.stored] == [sides.measured[0].tolist()] * 2
    assert sides.measured[0].size == 9 * 4


def test_sessions_with_little_in_common_are_no_fair_match() -> None:
    early, late = drifting(7), drifting()
    late = replace(late, canaries=tuple(replace(r, block=15 - r.block) for r in early.canaries))
    views = [seen(TTFT, each, ranges={Canary.HOST: AT_1_MS}) for each in (early, late)]
    assert (views[0].void, views[1].void) == (None, None)
    assert not matched([seen(TTFT, drifting())], views).is_fair


def test_a_longer_session_is_thinned_evenly() -> None:
    assert thinned(np.arange(10.0), 4).tolist() == [0, 2, 5, 7]
