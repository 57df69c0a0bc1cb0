"""What busy neighbours do to a session."""

import math
from dataclasses import replace

import pytest

from perfsuite.core.baseline import Baseline
from perfsuite.core.metrics import Metric, Statistic
from perfsuite.core.recording import Recording
from perfsuite.core.vicinity import allowances, effects, spread_of
from tests.builders import make_baseline, make_cell, make_recording

TTFT_P50 = Metric(series="ttft", statistic=Statistic.P50)
TTFT = {"ttft": 0.01}
BESIDE = [True, False, False, True] * 4


def recording(slowdown: float, wobble: float = 0.0) -> Recording:
    """Two samples a block; those beside neighbours take so much longer, and pairs wobble about that."""
    base = make_recording(n=2 * len(BESIDE))
    samples = tuple(
        replace(
            sample,
            block=index // 2,
            arrivals_ns=tuple(round(t * _factor(index // 2, slowdown, wobble)) for t in sample.arrivals_ns),
        )
        for index, sample in enumerate(base.of_phase(base.samples[0].phase))
    )
    return replace(base, samples=samples)


def _factor(block: int, slowdown: float, wobble: float) -> float:
    return 1 + (slowdown + (wobble if block // 2 % 2 else -wobble)) * BESIDE[block]


def test_without_an_effect_neighbours_are_harmless() -> None:
    (effect,) = effects(recording(0.0, wobble=0.001), BESIDE, TTFT)
    assert effect.change == pytest.approx(0.0, abs=1e-6)
    assert effect.allowed == pytest.approx(0.01)
    assert effect.is_harmless


@pytest.mark.parametrize("slowdown", [0.02, -0.02])
def test_an_effect_in_either_direction_is_found_with_its_size(slowdown: float) -> None:
    (effect,) = effects(recording(slowdown, wobble=0.001), BESIDE, TTFT)
    assert effect.change == pytest.approx(slowdown, abs=1e-4)
    assert not effect.is_harmless


def test_pairs_that_differ_too_much_show_nothing() -> None:
    (effect,) = effects(recording(0.0, wobble=0.05), BESIDE, TTFT)
    assert effect.interval.low < -0.01
    assert not effect.is_harmless


def test_a_session_that_drifts_shows_no_effect() -> None:
    """Which block of a pair is beside neighbours changes, so what grows from block to block is on both sides."""
    drifting = recording(0.0)
    slower = tuple(
        replace(sample, arrivals_ns=tuple(round(t * 1.0005**sample.block) for t in sample.arrivals_ns))
        for sample in drifting.samples
    )
    (effect,) = effects(replace(drifting, samples=slower), BESIDE, TTFT)
    assert effect.change == pytest.approx(0.0, abs=1e-5)
    assert effect.is_harmless


def test_too_few_pairs_tell_nothing() -> None:
    assert effects(recording(0.0), BESIDE[:6], TTFT) == ()


def test_a_few_pairs_in_which_the_host_changed_its_speed_do_not_hide_that_neighbours_are_harmless() -> None:
    """Two of twenty pairs, half as slow again in either order: Student's interval would be 5 % wide."""
    beside = BESIDE + BESIDE + BESIDE[:8]
    base = recording(0.0)
    sample = base.samples[0]
    samples = []
    for block, is_beside in enumerate(beside):
        jump = 1.5 if block in (4, 23) else 1.0
        factor = jump * (1 + (0.002 if block % 3 else -0.002) * is_beside)
        arrivals = tuple(round(t * factor) for t in sample.arrivals_ns)
        samples.append(replace(sample, block=block, arrivals_ns=arrivals))
    (effect,) = effects(replace(base, samples=tuple(samples)), beside, TTFT)
    assert effect.is_harmless
    assert -0.005 < effect.interval.low < effect.interval.high < 0.005


def test_what_is_allowed_is_a_quarter_of_the_tolerance_of_a_median() -> None:
    told = {
        TTFT_P50: 0.04,
        Metric(series="ttft", statistic=Statistic.P99): 0.1,
        Metric(series="tpot_device", statistic=Statistic.P50): 0.02,
        Metric(series="e2e", statistic=Statistic.P50): 0.05,
    }
    assert allowances(told) == {"ttft": pytest.approx(0.01), "tpot_device": pytest.approx(0.005)}


def baseline(*levels_ms: float) -> Baseline:
    cell = make_cell()
    return make_baseline(
        *(
            make_recording(cell, session=index, ttft_ms=level, noise=0.001, seed=index)
            for index, level in enumerate(levels_ms)
        )
    )


def differing(step: float, sessions: int = 8) -> Baseline:
    """Every other session takes so many times longer than the rest."""
    return baseline(*(40 * (step if index % 2 else 1) for index in range(sessions)))


def sd_of(step: float, sessions: int = 8) -> float:
    """The standard deviation of the logarithms of those; exact for an even number of sessions."""
    return math.log(step) / 2 * math.sqrt(sessions / (sessions - 1))


def test_of_a_strategy_whose_sessions_differ_more_half_of_that_is_allowed() -> None:
    noisy, quiet = differing(1.1), differing(1.001)
    spread = spread_of(TTFT_P50, [noisy])
    assert spread == pytest.approx(sd_of(1.1), rel=0.02)
    assert allowances({TTFT_P50: 0.04}, [noisy])["ttft"] == pytest.approx(spread / 2)
    assert allowances({TTFT_P50: 0.04}, [quiet])["ttft"] == pytest.approx(0.01)


def test_cells_count_by_how_much_their_sessions_tell() -> None:
    """Eight sessions have 7 degrees of freedom, six have 5."""
    found = spread_of(TTFT_P50, [differing(1.1, 8), differing(1.3, 6)])
    assert found**2 == pytest.approx((7 * sd_of(1.1, 8) ** 2 + 5 * sd_of(1.3, 6) ** 2) / 12, rel=0.02)


@pytest.mark.parametrize(
    ("sessions", "is_known"),
    [((), False), ((7,), False), ((8,), True), ((5,), False), ((5, 5), True), ((4, 4, 4, 4), False)],
)
def test_few_stored_sessions_say_nothing_of_how_much_sessions_differ(sessions: tuple[int, ...], is_known: bool) -> None:
    """Three would often find the spread twice as large as it is, however many cells those share."""
    assert (spread_of(TTFT_P50, [differing(1.1, count) for count in sessions]) > 0) == is_known


def test_the_words_have_the_change_its_interval_and_what_is_allowed() -> None:
    (effect,) = effects(recording(0.02), BESIDE, TTFT)
    assert effect.words == "TTFT +2.0 % (+2.0 % to +2.0 %, 1 % are allowed)"
