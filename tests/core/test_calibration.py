"""Calibration: a canary is used where it explains what sessions differ by, and the baseline says what it can gate."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from perfsuite.core.baseline import Baseline
from perfsuite.core.calibration import Calibrated, calibrate, choose_mode, choose_modes
from perfsuite.core.canary import RAW, Canary, Mode
from perfsuite.core.gate import minimum_detectable
from perfsuite.core.metrics import SERIES, parse_metric
from perfsuite.core.noise import Noise
from perfsuite.core.recording import Recording
from tests.builders import make_baseline, make_block_recording, make_cell, make_recording, make_sessions

TTFT, MEAN, P99, DEVICE, TPOT = (
    parse_metric(text, where="test") for text in ("ttft.p50", "ttft.mean", "ttft.p99", "ttft_device.p50", "tpot.p50")
)
SESSIONS, BLOCKS = 8, 6

Array = NDArray[np.float64]


def speeds(draw: np.random.Generator, sd: float = 0.05) -> Array:
    """How much slower the host is by session and block: it moves between sessions and, half as much, inside them."""
    logs = draw.normal(0, sd, (SESSIONS, 1)) + draw.normal(0, sd / 2, (SESSIONS, BLOCKS))
    return np.asarray(np.exp(logs))


def recorded(
    values: Array, canaries: Mapping[Canary, Array], draw: np.random.Generator, *, device: bool = False
) -> tuple[Recording, ...]:
    """Sessions of three samples of about 40 ms times `values` a block, beside canaries of 1 ms times their own."""
    samples = 40 * values[..., np.newaxis] * np.exp(draw.normal(0, 0.003, (*values.shape, 3)))
    return tuple(
        make_block_recording(
            samples[session].tolist(),
            {canary: factors[session].tolist() for canary, factors in canaries.items()},
            session=session,
            device=device,
        )
        for session in range(len(values))
    )


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_a_canary_that_explains_the_spread_is_chosen_with_its_weight(weight: float) -> None:
    draw = np.random.default_rng(1)
    host = speeds(draw)
    mode = choose_mode(TTFT, recorded(host**weight, {Canary.HOST: host}, draw))
    assert mode.canary is Canary.HOST
    assert mode.weight == pytest.approx(weight, abs=0.03)


def test_the_reference_is_the_median_of_the_canary_over_all_blocks() -> None:
    draw = np.random.default_rng(2)
    host = speeds(draw)
    mode = choose_mode(TTFT, recorded(host, {Canary.HOST: host}, draw))
    assert mode.reference_ns == pytest.approx(1e6 * np.median(host), rel=1e-3)


def test_a_canary_that_has_nothing_to_do_with_the_samples_is_nearly_never_chosen() -> None:
    draw = np.random.default_rng(3)
    modes = [choose_mode(TTFT, recorded(speeds(draw), {Canary.HOST: speeds(draw)}, draw)) for _ in range(200)]
    assert sum(mode is not RAW for mode in modes) <= 4


def test_the_canary_that_explains_most_is_chosen() -> None:
    draw = np.random.default_rng(4)
    host, launches = speeds(draw), speeds(draw)
    canaries = {Canary.HOST: host, Canary.FORWARD: host * launches, Canary.GRAPH: launches}
    assert choose_mode(TTFT, recorded(host * launches, canaries, draw)).canary is Canary.FORWARD


@pytest.mark.parametrize(("other", "label"), [(1.0, "raw"), (0.5, "host^1.00")])
def test_a_canary_is_used_where_it_lowers_the_spread_to_seven_tenths(other: float, label: str) -> None:
    """Of two independent causes the canary knows one; what is left of the spread is 0.71 or 0.45."""
    host = np.exp(0.05 * np.array([1, 1, -1, -1, 1, 1, -1, -1]))
    unknown = np.exp(0.05 * other * np.array([1, -1, 1, -1, 1, -1, 1, -1]))
    recordings = [
        make_block_recording([[39.9 * h * u, 40.1 * h * u]], {Canary.HOST: (h,)}, session=session)
        for session, (h, u) in enumerate(zip(host, unknown, strict=True))
    ]
    assert choose_mode(TTFT, recordings).label == label


def test_samples_that_get_faster_as_the_canary_gets_slower_stay_raw() -> None:
    draw = np.random.default_rng(6)
    host = speeds(draw)
    assert choose_mode(TTFT, recorded(1 / host, {Canary.HOST: host}, draw)) == RAW


def test_a_canary_that_never_moves_divides_nothing() -> None:
    draw = np.random.default_rng(7)
    assert choose_mode(TTFT, recorded(speeds(draw), {Canary.HOST: np.ones((SESSIONS, BLOCKS))}, draw)) == RAW


@pytest.mark.parametrize(("count", "canary"), [(1, None), (4, None), (5, Canary.HOST)])
def test_fewer_than_five_sessions_choose_no_canary(count: int, canary: Canary | None) -> None:
    draw = np.random.default_rng(8)
    host = speeds(draw)
    recordings = recorded(host, {Canary.HOST: host}, draw)[:count]
    assert choose_mode(TTFT, recordings).canary is canary


def test_a_canary_that_was_not_read_beside_one_block_is_not_chosen() -> None:
    draw = np.random.default_rng(9)
    host = speeds(draw)
    recordings = recorded(host, {Canary.HOST: host}, draw)
    lacking = replace(recordings[3], canaries=recordings[3].canaries[1:])
    assert choose_mode(TTFT, recordings).canary is Canary.HOST
    assert choose_mode(TTFT, (*recordings[:3], lacking, *recordings[4:])) == RAW


@pytest.mark.parametrize("canary", list(Canary))
def test_any_canary_may_tell_of_host_and_device(canary: Canary) -> None:
    """The device's span of a step that the host launches kernel by kernel holds the host's gaps."""
    draw = np.random.default_rng(10)
    speed = speeds(draw)
    recordings = recorded(speed, {canary: speed}, draw, device=True)
    assert [choose_mode(metric, recordings).canary for metric in (TTFT, DEVICE)] == [canary] * 2


def test_every_statistic_of_a_series_has_its_own_mode() -> None:
    """The host explains the body of the samples; every third one waits for something else, which moves more."""
    draw = np.random.default_rng(12)
    host, other = speeds(draw, 0.02), speeds(draw, 0.2)
    recordings = tuple(
        make_block_recording(
            [
                [40 * h * x, 41 * h * x, 80 * o]
                for h, o in zip(hosts, others, strict=True)
                for x in (draw.uniform(1, 1.01),)
            ],
            {Canary.HOST: hosts.tolist()},
            session=session,
        )
        for session, (hosts, others) in enumerate(zip(host, other, strict=True))
    )
    modes = choose_modes(recordings)
    assert {key: mode.canary for key, mode in modes.items() if key.startswith("ttft.")} == {
        "ttft.mean": None,
        "ttft.p50": Canary.HOST,
        "ttft.p95": None,
        "ttft.p99": None,
    }


def test_a_series_without_values_has_no_mode() -> None:
    draw = np.random.default_rng(13)
    modes = choose_modes(recorded(speeds(draw), {}, draw))
    assert {key.partition(".")[0] for key in modes} == {"ttft"}


def test_samples_that_cannot_be_used_stay_raw() -> None:
    stuck = make_block_recording([[40.0, 40.0]], {Canary.HOST: (1.0,)})
    assert choose_mode(TTFT, make_sessions(stuck, 4)) == RAW


def plain_baseline(count: int = 5, n: int = 40) -> Baseline:
    """Sessions of 40 ms that lie 0.5 % apart, their samples scattered by 2 %."""
    return make_baseline(
        *(
            make_recording(session=index, ttft_ms=40 * 1.005**index, n=n, decode=10, noise=0.02)
            for index in range(count)
        )
    )


def calibrated(
    baseline: Baseline, metric: str = "ttft.p50", tolerance: float = 0.05, noise: Noise | None = None
) -> Calibrated:
    wanted = parse_metric(metric, where="test")
    known = {metric: noise} if noise else {}
    (found,) = calibrate(baseline, {wanted: tolerance}, noise=known, gates=10, looks=6)
    return found


def smallest(found: Calibrated) -> float:
    assert found.smallest is not None
    return found.smallest


def values(baseline: Baseline) -> list[Sequence[float]]:
    return [SERIES["ttft"].values(recording) for recording in baseline.recordings]


@pytest.mark.parametrize(("metric", "name"), [("ttft.p50", "median"), ("ttft.mean", "mean")])
def test_the_smallest_change_of_raw_samples_is_the_gates_own(metric: str, name: str) -> None:
    baseline = plain_baseline()
    gates_own = minimum_detectable(values(baseline), metric=name, gates=10, looks=6)
    assert calibrated(baseline, metric).smallest == pytest.approx(gates_own, rel=1e-12)


def test_the_spread_of_raw_sessions_is_the_deviation_of_their_log_medians() -> None:
    baseline = plain_baseline()
    found = calibrated(baseline)
    assert found.session_sd == pytest.approx(np.std(np.log(np.median(values(baseline), axis=1)), ddof=1))
    assert found.raw_sd == found.session_sd


def test_a_canary_lowers_the_spread_and_with_it_the_smallest_change() -> None:
    draw = np.random.default_rng(20)
    host = speeds(draw)
    recordings = recorded(host, {Canary.HOST: host}, draw)
    raw = calibrated(make_baseline(*recordings))
    divided = calibrated(replace(make_baseline(*recordings), modes=choose_modes(recordings)))
    assert divided.mode.canary is Canary.HOST
    assert divided.raw_sd == raw.session_sd == pytest.approx(0.05, rel=0.5)
    assert divided.session_sd == pytest.approx(0, abs=0.005)
    assert smallest(divided) < smallest(raw) / 10


def obvious_smallest(sd: float, m: int, *, gates: int = 10, looks: int = 6) -> float:
    """docs/gate.md 5 without a prior: m - 1 + K - 1 degrees of freedom."""
    t = stats.t.ppf(1 - 0.001 / (gates * looks), m + looks - 2)
    return math.expm1((t + stats.norm.ppf(0.99)) * sd * math.sqrt(1 / m + 1 / looks))


@pytest.mark.parametrize("tolerance", [0.05, 0.06, 0.08, 0.2])
def test_the_sessions_needed_are_the_fewest_whose_smallest_change_is_the_tolerance(tolerance: float) -> None:
    found = calibrated(plain_baseline(), tolerance=tolerance)
    assert found.session_sd is not None
    fewest = [m for m in range(2, 21) if obvious_smallest(found.session_sd, m) <= tolerance]
    assert found.sessions_needed == fewest[0]


def test_a_baseline_too_noisy_for_twenty_sessions_needs_a_number_nobody_can_say() -> None:
    found = calibrated(plain_baseline(), tolerance=0.01)
    assert (found.sessions_needed, found.can_gate) == (None, False)
    assert found.smallest is not None


def test_a_gate_holds_its_tolerance_from_the_smallest_change_on() -> None:
    least = smallest(calibrated(plain_baseline()))
    assert calibrated(plain_baseline(), tolerance=least).can_gate
    assert not calibrated(plain_baseline(), tolerance=0.99 * least).can_gate


def test_a_tail_of_too_few_samples_is_refused_with_the_number_needed() -> None:
    found = calibrated(plain_baseline(), "ttft.p99", 0.1)
    assert (found.smallest, found.sessions_needed, found.can_gate) == (None, None, False)
    assert found.reason == (
        "40 samples per session are too few for P99, 300 are needed; 260 more samples per session (n = 300)"
    )


def test_a_tail_that_wanders_is_refused_though_its_spread_is_told() -> None:
    found = calibrated(plain_baseline(n=60), "ttft.p95", 0.02)
    assert found.reason.startswith("P95 differs by 0.")
    assert found.session_sd is not None


def test_one_session_can_gate_nothing() -> None:
    found = calibrated(make_baseline(make_recording(noise=0.02)))
    assert (found.smallest, found.reason) == (None, "one session says nothing of the noise between sessions")


def test_a_baseline_without_its_canary_can_gate_nothing() -> None:
    baseline = replace(plain_baseline(), modes={"ttft.p50": Mode(canary=Canary.HOST, weight=1.0, reference_ns=1e6)})
    found = calibrated(baseline)
    assert found.smallest is None
    assert found.reason == "5 of 5 sessions void: there is no reading of the host canary beside 2 of 2 blocks"


def test_samples_that_cannot_be_used_are_the_reason() -> None:
    found = calibrated(make_baseline(sessions=3))
    assert found.reason == "all 20 samples are 4e+07: the clock does not tick"


def test_a_metric_without_values_is_not_calibrated() -> None:
    baseline = make_baseline(*(make_recording(make_cell(output=1), session=s, noise=0.02) for s in range(3)))
    found = calibrate(baseline, {TTFT: 0.05, TPOT: 0.05}, noise={}, gates=2, looks=6)
    assert [each.metric for each in found] == [TTFT]


def test_the_noise_of_the_suite_tells_of_the_cell() -> None:
    """A prior of 60 degrees of freedom and a huge variance: the cell can gate less than alone."""
    noisy = Noise(statistic=TTFT.statistic, cells=20, intercept=math.log(0.05**2), prior_df=60.0)
    assert smallest(calibrated(plain_baseline(), noise=noisy)) > 2 * smallest(calibrated(plain_baseline()))


def test_the_spread_of_blocks_is_what_their_mean_would_have() -> None:
    """Two blocks a factor e^0.1 apart: variance 0.1^2 / 2, that of their mean half of it."""
    apart = make_block_recording([[40.0], [40.0 * math.exp(0.1)]])
    found = calibrated(make_baseline(*make_sessions(apart, 3)))
    assert found.block_sd == pytest.approx(0.1 / 2, rel=1e-4)


def test_one_block_says_nothing_of_the_spread_of_blocks() -> None:
    found = calibrated(make_baseline(*(make_block_recording([[40.0, 41.0 + s]], session=s) for s in range(3))))
    assert (found.block_sd, found.process_sd) == (None, None)


@pytest.mark.parametrize(
    ("session_sd", "block_sd", "process_sd"), [(0.05, 0.03, 0.04), (0.03, 0.05, 0.0), (0.05, None, None)]
)
def test_what_the_blocks_do_not_explain_is_the_processes_own(
    session_sd: float, block_sd: float | None, process_sd: float | None
) -> None:
    found = replace(calibrated(plain_baseline()), session_sd=session_sd, block_sd=block_sd)
    assert found.process_sd == (None if process_sd is None else pytest.approx(process_sd))
