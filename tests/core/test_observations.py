from dataclasses import replace

import pytest

from perfsuite.core.observations import Observation, observe
from perfsuite.core.sample import Phase, Sample
from perfsuite.report.observations import observations
from tests.builders import make_recording

MS = 1_000_000


def prefills(times_ms: list[float], per_block: int) -> tuple[Sample, ...]:
    return tuple(
        Sample(phase=Phase.PREFILL, block=index // per_block, arrivals_ns=(round(time_ms * MS),), tokens=(1,))
        for index, time_ms in enumerate(times_ms)
    )


def observed(times_ms: list[float], per_block: int = 2) -> Observation:
    (found,) = observe([replace(make_recording(), samples=prefills(times_ms, per_block))])
    return found


def test_what_lies_over_ten_mads_from_the_median_is_counted() -> None:
    # median 10, distances 0.1 in the median: 11.1 and 8.9 lie 11 of them away, 10.9 and 9.1 only 9
    found = observed([9.9, 10.1, 9.9, 10.1, 9.9, 10.1, 9.9, 10.1, 10.0, 11.1, 8.9, 10.9, 9.1])
    assert (found.samples, found.outliers) == (13, 2)


def test_samples_that_do_not_differ_have_no_outliers() -> None:
    assert observed([10.0] * 9 + [20.0]).outliers == 0


def test_a_slower_second_half_is_drift() -> None:
    steady, slower = [10.0, 10.02, 9.98, 10.0], [10.5, 10.52, 10.48, 10.5]
    assert observed([*steady, *slower], per_block=1).drift == pytest.approx(0.05, abs=0.001)


def test_scatter_of_the_blocks_is_no_drift() -> None:
    assert observed([10.0, 10.6, 9.9, 10.4, 10.1, 10.7, 9.8, 10.5], per_block=1).drift is None


def test_few_blocks_tell_of_no_drift() -> None:
    assert observed([10.0, 10.02, 11.0, 11.02], per_block=1).drift is None


def test_the_lines_name_the_session_that_drifts_most() -> None:
    steady, slower = [10.0, 10.02, 9.98, 10.0], [10.5, 10.52, 10.48, 10.5]
    (line,) = observations([observed([*steady, *slower], per_block=1)])
    assert line.text.startswith("drift inside 1 session of 1, second half against first: eager/tiny/")
    assert line.text.endswith("TTFT +5.0 % (session 1)")


def test_nothing_observed_is_nothing_said() -> None:
    assert observations([observed([10.0, 10.1, 9.9, 10.0])]) == ()
