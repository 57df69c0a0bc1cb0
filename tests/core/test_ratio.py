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
