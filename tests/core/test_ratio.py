import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from perfsuite.core.errors import OptionError
from perfsuite.core.metrics import parse_metric
from perfsuite.core.ratio import Ratio, check_factor, ratio_of
from perfsuite.core.recording import Recording
from perfsuite.core.sample import Phase, Sample
from perfsuite.core.verdict import Interval, Outcome
from tests.builders import make_recording

TTFT = parse_metric("ttft.p50", where="test")


def sessions(*ttft_ms: float) -> list[Recording]:
    """One recording per session, whose TTFTs have that many milliseconds as their median."""
    made = make_recording()
    return [
        replace(
            made,
            session=index,
            samples=tuple(
                Sample(phase=Phase.PREFILL, block=0, arrivals_ns=(round(ms * off * 1e6),), tokens=(1,))
                for off in (0.98, 0.99, 1, 1.01, 1.02)
            ),
        )
        for index, ms in enumerate(ttft_ms)
    ]


def test_half_the_time_is_twice_as_fast() -> None:
    found = ratio_of(TTFT, sessions(10, 10), sessions(20, 20))
    assert found is not None
    assert found.times == pytest.approx(2)
    assert (found.sessions, found.others) == (2, 2)


def test_the_interval_is_welchs_on_the_logarithms_of_the_sessions() -> None:
    ours, theirs = (10.0, 10.4, 9.7, 10.1), (19.0, 21.5, 20.2)
    found = ratio_of(TTFT, sessions(*ours), sessions(*theirs))
    expected = stats.ttest_ind(np.log(theirs), np.log(ours), equal_var=False).confidence_interval(0.95)
    assert found is not None
    assert found.interval is not None
    assert found.interval.low == pytest.approx(math.exp(expected.low))
    assert found.interval.high == pytest.approx(math.exp(expected.high))


def in_turns(*both: tuple[list[Recording], str, str]) -> list[list[Recording]]:
    """Recordings of a strategy that took turns with the other one named."""
    return [
        [replace(each, cell=replace(each.cell, strategy=strategy), beside=(other,)) for each in own]
        for own, strategy, other in both
    ]


def test_sessions_that_took_turns_are_compared_pair_by_pair() -> None:
    """Both are as slow as the machine was: what they share cancels."""
    ours, theirs = (10.0, 15.1, 7.9, 12.2), (20.1, 29.9, 16.0, 24.0)
    own, other = in_turns((sessions(*ours), "jit", "eager"), (sessions(*theirs), "eager", "jit"))
    found = ratio_of(TTFT, own, other)
    expected = stats.ttest_rel(np.log(theirs), np.log(ours)).confidence_interval(0.95)
    assert found is not None
    assert found.is_paired
    assert found.interval is not None
    assert found.interval.low == pytest.approx(math.exp(expected.low))
    assert found.interval.high == pytest.approx(math.exp(expected.high))
    alone = ratio_of(TTFT, sessions(*ours), sessions(*theirs))
    assert alone is not None
    assert alone.interval is not None
    assert not alone.is_paired
    assert alone.interval.high / alone.interval.low > 10 * found.interval.high / found.interval.low - 10


def test_only_sessions_that_took_turns_with_each_other_are_pairs() -> None:
    own, other = in_turns((sessions(10, 11, 10), "jit", "eager"), (sessions(20, 22, 20), "eager", "jit"))
    own[2] = replace(own[2], beside=())
    found = ratio_of(TTFT, own, other)
    assert found is not None
    assert (found.is_paired, found.sessions, found.others) == (True, 2, 2)
    stranger = ratio_of(TTFT, *in_turns((sessions(10, 11), "jit", "vllm"), (sessions(20, 22), "eager", "vllm")))
    assert stranger is not None
    assert not stranger.is_paired


def test_one_session_of_a_side_has_no_interval_and_decides_nothing() -> None:
    found = ratio_of(TTFT, sessions(10), sessions(100, 100, 100))
    assert found is not None
    assert found.interval is None
    assert found.outcome(1.1) is Outcome.INCONCLUSIVE


def test_without_values_there_is_no_ratio() -> None:
    assert ratio_of(TTFT, sessions(), sessions(10)) is None
    assert ratio_of(parse_metric("tpot.p50", where="test"), sessions(10, 10), sessions(20, 20)) is None


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (1.3, 1.5, Outcome.PASSED),
        (1.31, 1.5, Outcome.PASSED),
        (1.29, 1.5, Outcome.INCONCLUSIVE),
        (1.1, 1.3, Outcome.INCONCLUSIVE),
        (1.1, 1.29, Outcome.REGRESSED),
    ],
)
def test_only_a_whole_interval_decides(low: float, high: float, outcome: Outcome) -> None:
    ratio = Ratio(times=1.3, interval=Interval(low=low, high=high), sessions=4, others=4)
    assert ratio.outcome(1.3) is outcome


@pytest.mark.parametrize("wrong", [0, -1, math.inf, math.nan, "2x", None, True])
def test_what_is_no_factor_is_refused(wrong: object) -> None:
    with pytest.raises(OptionError, match=r"is not a factor; write 1\.3"):
        check_factor(wrong)
