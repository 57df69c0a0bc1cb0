"""Which samples a disturbance touches, and from how many on a recording is not believed."""

from dataclasses import replace

import pytest

from perfsuite.core.disturbance import divided, findings, touching, windows
from perfsuite.core.reading import Monitoring
from perfsuite.core.recording import Recording
from perfsuite.core.rules import HARDWARE_THERMAL, Cause, Stretch
from perfsuite.core.sample import Phase, Sample
from perfsuite.core.validity import disturbance, problems
from tests.builders import make_recording, make_sample
from tests.watched import STEP_NS, calm_monitoring, device_readings, neighbour

MS = 1_000_000


def sent(at_ms: float, *, ms: float = 50.0, block: int = 0) -> Sample:
    return replace(make_sample(Phase.PREFILL, 1, ttft_ms=ms, block=block), sent_ns=round(at_ms * MS))


def stretch(begin_ms: int, end_ms: int) -> Stretch:
    return Stretch(begin_ns=begin_ms * MS, end_ns=end_ms * MS, cause=Cause.STEAL, detail="stolen")


@pytest.mark.parametrize(
    ("begin_ms", "end_ms", "is_touched"),
    [(0, 100, False), (0, 101, True), (120, 130, True), (149, 500, True), (150, 500, False)],
)
def test_a_sample_is_touched_by_what_lasted_while_it_was_under_way(
    begin_ms: int, end_ms: int, is_touched: bool
) -> None:
    """Sent at 100 ms, answered at 150."""
    assert (touching(sent(100), (stretch(begin_ms, end_ms),)) is not None) is is_touched


def test_a_sample_without_its_time_is_touched_by_nothing() -> None:
    assert touching(make_sample(Phase.PREFILL, 1, ttft_ms=50), (stretch(0, 1000),)) is None


def test_samples_are_divided_in_their_order() -> None:
    samples = [sent(0), sent(100), sent(200), sent(300)]
    clean, disturbed = divided(samples, (stretch(120, 220),))
    assert (clean, disturbed) == ([samples[0], samples[3]], [samples[1], samples[2]])


def test_the_window_of_a_block_reaches_from_its_first_sending_to_its_last_answer() -> None:
    samples = (sent(300, block=1), sent(0), sent(60), sent(400, block=1))
    assert windows(samples) == ((0, 110 * MS), (300 * MS, 450 * MS))


def test_a_recording_keeps_the_readings_beside_its_own_blocks_only() -> None:
    kept = calm_monitoring().between(((250 * MS, 350 * MS),))
    assert [reading.at_ns for reading in kept.device] == [3 * STEP_NS, 4 * STEP_NS]
    assert [reading.at_ns for reading in kept.host] == [3 * STEP_NS, 4 * STEP_NS]


def watched(samples: int, monitoring: Monitoring, set_aside: tuple[Sample, ...] = ()) -> Recording:
    """So many one-token requests of 50 ms, one after the other."""
    taken = tuple(sent(50 * index) for index in range(samples))
    return replace(make_recording(), samples=taken, monitoring=monitoring, set_aside=set_aside)


HOT_AT_FIRST = Monitoring(device=device_readings(reasons={0: HARDWARE_THERMAL}))
"""For a fifth of a second: four requests."""


def test_a_finding_counts_the_samples_that_it_touched() -> None:
    recording = watched(20, HOT_AT_FIRST)
    (finding,) = findings(recording.samples, HOT_AT_FIRST)
    assert (finding.cause, finding.samples) == (Cause.THROTTLE, 4)


def test_the_finding_that_touched_most_comes_first() -> None:
    both = replace(HOT_AT_FIRST, neighbours=(neighbour(8 * STEP_NS),))
    assert [finding.cause for finding in findings(watched(20, both).samples, both)] == [Cause.PROCESS, Cause.THROTTLE]


@pytest.mark.parametrize(("samples", "is_believed"), [(16, True), (15, False)], ids=["4 of 16", "4 of 15"])
def test_more_than_a_quarter_of_disturbed_samples_make_a_recording_invalid(samples: int, is_believed: bool) -> None:
    recording = watched(samples, HOT_AT_FIRST)
    assert (disturbance(recording) is None) is is_believed
    assert (problems(recording) == ()) is is_believed


def test_an_invalid_recording_names_the_cause_and_the_counts() -> None:
    recording = watched(12, Monitoring(device=device_readings(), neighbours=(neighbour(),)))
    assert problems(recording) == (
        "the machine was disturbed: process 4242 (burn) used 63 % of the GPU, during 10 of 12 samples "
        "(25 % are allowed)",
    )


def test_samples_that_were_set_aside_count_as_disturbed() -> None:
    aside = tuple(sent(50 * index) for index in range(4))
    later = tuple(sent(1000 + 50 * index) for index in range(11))
    recording = replace(watched(0, HOT_AT_FIRST, aside), samples=later)
    assert disturbance(recording) is not None
    assert disturbance(replace(recording, samples=(*later, sent(2000)))) is None


def test_a_recording_that_nobody_watched_is_believed() -> None:
    assert disturbance(make_recording()) is None
    assert disturbance(watched(8, Monitoring(not_monitored=("switched off",)))) is None
