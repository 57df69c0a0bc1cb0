"""What strategies of one's own tell beside their chunks may be anything: it costs no sample, or its own cell."""

import pytest

from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.recording import Evidence, Memory, Recording
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.session import Event, SessionJob
from perfsuite.measure.worker import run_job
from tests.scripted import Scripted


class OddEvidence(Scripted):
    def evidence(self) -> Evidence:
        return {"graphs_replayed": 3}  # type: ignore[return-value]


class OddNotes(Scripted):
    def evidence(self) -> Evidence:
        return Evidence(notes=(b"attention",))  # type: ignore[arg-type]


class OddMemory(Scripted):
    def memory(self) -> Memory:
        return Memory(weights=1.5)  # type: ignore[arg-type]


class OddDeviceTimes(Scripted):
    def device_ns(self) -> tuple[int, ...]:
        return (0.5,)  # type: ignore[return-value]


class OddCounts(Scripted):
    def token_counts(self) -> tuple[int, ...]:
        return [1]  # type: ignore[return-value]


class OddChunks(Scripted):
    def stream(self, request: Request):
        yield Chunk(token_ids=None)  # type: ignore[arg-type]


class PeaksThatRaise(Scripted):
    def begin_peak(self) -> None:
        raise RuntimeError("no allocator")

    def peak_bytes(self) -> int | None:
        return None


class OddPeaks(PeaksThatRaise):
    def begin_peak(self) -> None:
        pass

    def peak_bytes(self) -> int | None:
        return "much"  # type: ignore[return-value]


class OddFacts(Scripted):
    def facts(self):
        return {"vocabulary": 100}


def last_event(strategy: type) -> Event:
    workload = Workload(prompt_tokens=20, output_tokens=2)
    cell = Cell(strategy="scripted", model=ModelSpec(name="tiny"), workload=workload)
    measure = MeasureOptions(samples=2, decode_samples=1, warmup=0)
    events: list[Event] = []
    reference = f"{strategy.__module__}:{strategy.__qualname__}"
    run_job(SessionJob(reference=reference, cells=(cell,), session=0, measure=measure), events.append)
    return events[-1]


def recording_of(strategy: type) -> Recording:
    recordings = last_event(strategy).recordings
    assert recordings is not None
    return recordings[0]


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (OddEvidence, "TypeError: evidence() gave a dict, not a Evidence"),
        (OddNotes, "CodecError: evidence().notes[0]: expected str, found b'attention'"),
        (OddMemory, "CodecError: memory().weights: expected int, found 1.5"),
    ],
)
def test_what_it_says_of_itself_costs_no_sample(strategy: type, words: str) -> None:
    recording = recording_of(strategy)
    assert len(recording.samples) == 3
    assert [(failure.stage, failure.message) for failure in recording.failures] == [("evidence", words)]


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (OddDeviceTimes, "TypeError: device_ns() gave '(0.5,)', not a tuple of whole numbers"),
        (OddCounts, "TypeError: token_counts() gave '[1]', not a tuple of whole numbers"),
        (OddChunks, "TypeError: object of type 'NoneType' has no len()"),
        (PeaksThatRaise, "RuntimeError: no allocator"),
        (OddPeaks, "TypeError: peak_bytes() gave a str, not a int"),
    ],
)
def test_what_it_says_of_a_request_is_a_failure_of_the_cell(strategy: type, words: str) -> None:
    assert {failure.message for failure in recording_of(strategy).failures} == {words}


def test_facts_that_are_none_are_one_line() -> None:
    assert last_event(OddFacts).broken == "TypeError: facts() gave a dict, not a ModelFacts"
