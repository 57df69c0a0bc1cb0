"""The history of a cell is what the gate saw of its sessions, in the order they were measured."""

from dataclasses import replace

import numpy as np
import pytest

from perfsuite.core.baseline import Baseline
from perfsuite.core.canary import Canary, Mode
from perfsuite.core.history import History, histories
from perfsuite.core.recording import Recording
from perfsuite.core.verdict import Judgement, Outcome
from tests.builders import make_baseline, make_block_recording, make_cell, make_readings, make_recording, make_verdict


def session(day: int, ttft_ms: float, n: int = 20) -> Recording:
    return replace(
        make_recording(ttft_ms=ttft_ms, noise=0.01, n=n, session=day), started_at=f"2026-01-{day:02}T00:00:00Z"
    )


def history(baseline: Baseline, *measured: Recording, outcome: Outcome = Outcome.PASSED) -> History:
    judgement = Judgement(cell=make_cell(), verdicts=(make_verdict(outcome),))
    (found,) = histories(baseline, measured, judgement)
    return found


def days(found: History) -> list[int]:
    return [int(started_at[8:10]) for started_at in found.started_at]


STORED = replace(make_baseline(session(1, 40), session(2, 40)), later=(session(3, 41), session(4, 41)))


def test_stored_later_and_new_sessions_follow_each_other() -> None:
    found = history(STORED, session(5, 42))
    assert days(found) == [1, 2, 3, 4, 5]
    assert np.exp(found.estimates) == pytest.approx([40e6, 40e6, 41e6, 41e6, 42e6], rel=0.01)
    assert (found.cell, found.metric.key, found.tolerance) == (make_cell(), "ttft.p50", 0.05)


def test_the_estimate_is_the_logarithm_of_the_median() -> None:
    recording = session(5, 42)
    times = [sample.ttft_ns for sample in recording.samples if len(sample.arrivals_ns) == 1]
    assert history(STORED, recording).estimates[-1] == pytest.approx(np.log(np.median(times)))


def test_sessions_that_were_appended_to_the_baseline_stand_where_they_were_measured() -> None:
    appended = replace(STORED, recordings=(session(1, 40), session(5, 40)))
    assert days(history(appended)) == [1, 3, 4, 5]


def test_a_session_that_is_stored_already_counts_once() -> None:
    assert days(history(STORED, session(4, 41))) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("outcome", "joins"),
    [
        (Outcome.PASSED, True),
        (Outcome.INCONCLUSIVE, True),
        (Outcome.REGRESSED, False),
        (Outcome.IMPROVED, False),
        (Outcome.INVALID, False),
        (Outcome.INCOMPARABLE, False),
    ],
)
def test_sessions_of_which_the_verdict_says_enough_do_not_join(outcome: Outcome, joins: bool) -> None:
    assert (days(history(STORED, session(5, 42), outcome=outcome)) == [1, 2, 3, 4, 5]) is joins


def test_sessions_that_perfsuite_slowed_do_not_join() -> None:
    slowed = replace(session(5, 42), injected_slowdown=0.1)
    assert days(history(STORED, slowed)) == [1, 2, 3, 4]


def test_samples_are_divided_by_the_canary_of_the_stored_mode() -> None:
    """The host is 10 % slower in the later session, and so are its samples."""

    def beside(day: int, speed: float) -> Recording:
        made = make_block_recording([[39.9 * speed, 40.1 * speed]], session=day)
        started_at = f"2026-01-{day:02}T00:00:00Z"
        return replace(made, canaries=make_readings({Canary.HOST: (speed,)}), started_at=started_at)

    stored = make_baseline(*(beside(day, speed) for day, speed in ((1, 1.0), (2, 1.1), (3, 0.9))))
    mode = Mode(canary=Canary.HOST, weight=1.0, reference_ns=1e6)
    divided = replace(stored, modes={"ttft.p50": mode})
    assert np.exp(history(divided).estimates) == pytest.approx([40e6] * 3)
    assert np.exp(history(stored).estimates) == pytest.approx([40e6, 44e6, 36e6])


def test_void_sessions_are_left_out() -> None:
    """The host's canary was at 1 ms; beside the later session it took 2 ms."""
    calm, disturbed = (
        replace(session(day, 40), canaries=make_readings({Canary.HOST: [ms]})) for day, ms in ((1, 1.0), (2, 2.0))
    )
    assert days(history(replace(make_baseline(calm), later=(disturbed,)))) == [1]


def test_sessions_of_half_the_samples_or_fewer_and_unusable_ones_are_left_out() -> None:
    stuck = replace(session(4, 41), samples=make_recording(noise=0).samples)
    assert days(history(replace(STORED, later=(session(3, 41, n=10), stuck)))) == [1, 2]


def test_a_metric_without_values_has_an_empty_history() -> None:
    (found,) = histories(STORED, (), Judgement(cell=make_cell(), verdicts=(make_verdict(metric="ttft_device.p50"),)))
    assert found.estimates == found.started_at == ()
