"""What busy neighbours do to a session."""

from dataclasses import replace

import pytest

from perfsuite.core.metrics import Metric, Statistic
from perfsuite.core.recording import Recording
from perfsuite.core.vicinity import effects
from tests.builders import make_recording

TTFT = {Metric(series="ttft", statistic=Statistic.P50): 0.04}
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


def test_a_series_without_a_tolerance_is_not_looked_at() -> None:
    assert effects(recording(0.0), BESIDE, {Metric(series="ttft", statistic=Statistic.P99): 0.1}) == ()


def test_the_words_have_the_change_its_interval_and_what_is_allowed() -> None:
    (effect,) = effects(recording(0.02), BESIDE, TTFT)
    assert effect.words == "TTFT +2.0 % (+2.0 % to +2.0 %, 1 % are allowed)"
