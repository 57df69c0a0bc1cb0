"""The lines on the machine under watch."""

from dataclasses import replace

import pytest

from perfsuite.core.reading import Monitoring, Place
from perfsuite.core.recording import Recording
from perfsuite.core.rules import HARDWARE_THERMAL
from perfsuite.core.sample import Phase
from perfsuite.report.monitoring import monitoring
from tests.builders import make_cell, make_recording, make_sample
from tests.watched import STEP_NS, calm_monitoring, device_readings, host_readings, neighbour

HOT = Monitoring(device=device_readings(reasons={0: HARDWARE_THERMAL}))


def watched(seen: Monitoring | None, *, prompt: int = 100, aside: int = 0) -> Recording:
    """Twenty samples of 50 ms, of which the first `aside` were set aside."""
    taken = tuple(replace(make_sample(Phase.PREFILL, 1, ttft_ms=50), sent_ns=50_000_000 * index) for index in range(20))
    made = make_recording(make_cell(prompt=prompt), session=1)
    return replace(made, samples=taken[aside:], set_aside=taken[:aside], monitoring=seen)


def texts(*recordings: Recording) -> list[str]:
    return [line.text for line in monitoring(recordings)]


def test_a_calm_machine_and_scripted_time_are_not_worth_a_line() -> None:
    assert texts(watched(calm_monitoring()), watched(None)) == []


def test_a_finding_is_said_with_its_session_and_what_was_taken_anew() -> None:
    assert texts(watched(HOT, aside=4)) == [
        "eager/tiny/p100-o4: session 2: the hardware lowered the clocks, as the GPU was too hot during 4 of 20 samples"
        "; 4 samples set aside, as many taken anew"
    ]


def test_what_could_not_be_monitored_is_said_once() -> None:
    blind = watched(Monitoring(not_monitored=("the GPU: NVML does not work here (error 9)",)))
    assert texts(blind, blind) == ["not monitored: the GPU: NVML does not work here (error 9)"]


@pytest.mark.parametrize(("busy_ns", "is_said"), [(13 * STEP_NS // 10, True), (12 * STEP_NS // 10, False)])
def test_busy_neighbours_of_the_host_are_named_as_an_explanation(busy_ns: int, is_said: bool) -> None:
    host = host_readings(changes={index: {"busy_ns": busy_ns} for index in range(10)})
    others = (neighbour(place=Place.HOST, share=0.3), neighbour(place=Place.HOST, share=0.2, pid=7))
    assert (
        texts(watched(Monitoring(host=host, neighbours=others)))
        == ["beside the samples other processes kept 0.3 of 2 cores busy, process 4242 (burn) most of all"] * is_said
    )


def test_many_findings_are_counted_beyond_the_first_ten() -> None:
    lines = texts(*(watched(HOT, prompt=prompt) for prompt in range(1, 14)))
    assert len(lines) == 11
    assert lines[-1] == "… and 3 more findings of the machine (--perf-json has all)"
