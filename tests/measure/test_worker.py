from collections.abc import Iterator
from dataclasses import replace

import pytest

from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.recording import Evidence, Memory, StartupPhase
from perfsuite.core.roofline import Rate, Roofline
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.sampling_check import SamplingCheck
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.clock import ScriptedClock
from perfsuite.measure.session import Event, SessionJob
from perfsuite.measure.session_check import CHECK_NS
from perfsuite.measure.strategy import Gauge
from perfsuite.measure.worker import run_job
from tests import sampled
from tests.scripted import MS, Limited


def make_job(strategy: str = "Scripted", *, batch_size: int = 1) -> SessionJob:
    workload = Workload(prompt_tokens=20, output_tokens=2, batch_size=batch_size)
    cell = Cell(strategy="scripted", model=ModelSpec(name="tiny"), workload=workload)
    measure = MeasureOptions(samples=2, decode_samples=1, warmup=0)
    return SessionJob(reference=f"tests.scripted:{strategy}", cells=(cell,), session=3, measure=measure)


def events_of(job: SessionJob) -> list[Event]:
    events: list[Event] = []
    run_job(job, events.append)
    return events


def test_a_session_ends_with_one_recording_per_cell() -> None:
    *_, last = events_of(make_job())
    assert last.recordings is not None
    (recording,) = last.recordings
    assert (recording.session, len(recording.samples), recording.evidence.notes[0]) == (3, 3, "scripted")


def test_what_a_strategy_cannot_do_is_said_beside_its_numbers() -> None:
    *_, last = events_of(make_job())
    assert last.recordings is not None
    assert last.recordings[0].evidence.notes[1:] == tuple(
        f"not applied: {ability}" for ability in ("repetition penalty", "temperature", "top-k", "top-p")
    )


def test_evidence_that_cannot_be_given_leaves_the_samples_and_a_failure() -> None:
    *_, last = events_of(make_job("WithoutEvidence"))
    assert last.recordings is not None
    (recording,) = last.recordings
    assert len(recording.samples) == 3
    assert [(failure.stage, failure.message) for failure in recording.failures] == [
        ("evidence", "RuntimeError: the engine is gone")
    ]


def roofline_of(strategy: str) -> Roofline | None:
    *_, last = events_of(make_job(strategy))
    assert last.recordings is not None
    return last.recordings[0].roofline


def test_the_limits_of_the_device_come_with_the_recording() -> None:
    """A gigabyte in a millisecond by the host's clock, which leaves room for twice as much."""
    roofline = roofline_of("Limited")
    assert roofline is not None
    assert roofline.limits.reading == Rate(measured=1e12, ceiling=2e12)
    assert roofline.work.weight_bytes == 10**9


def test_a_strategy_without_gauges_has_no_roofline() -> None:
    assert roofline_of("Scripted") is None


def test_gauges_that_break_are_a_failure_and_no_roofline() -> None:
    *_, last = events_of(make_job("BrokenGauge"))
    assert last.recordings is not None
    (recording,) = last.recordings
    assert recording.roofline is None
    assert [failure.message for failure in recording.failures] == ["RuntimeError: no kernel for this device"]


def test_limits_are_measured_after_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that neither times nor memory nor evidence can be touched by them."""
    order: list[str] = []

    class Ordered(Limited):
        def stream(self, request: Request) -> Iterator[Chunk]:
            order.append("stream")
            return super().stream(request)

        def memory(self) -> Memory:
            order.append("memory")
            return Memory()

        def evidence(self) -> Evidence:
            order.append("evidence")
            return super().evidence()

        def gauges(self) -> Iterator[Gauge]:
            order.append("gauges")
            return super().gauges()

    monkeypatch.setattr("tests.scripted.Limited", Ordered)
    events_of(make_job("Limited"))
    assert list(dict.fromkeys(order)) == ["stream", "memory", "evidence", "gauges"]
    assert order.count("gauges") == 1


def test_measuring_the_limits_is_no_startup() -> None:
    startups = []
    for strategy in ("Scripted", "Limited"):
        *_, last = events_of(make_job(strategy))
        assert last.recordings is not None
        startups.append(last.recordings[0].startup)
    assert startups[0] == startups[1]


def test_a_device_that_cannot_tell_its_time_costs_the_request_only() -> None:
    *_, last = events_of(make_job("WithoutDeviceTime"))
    assert last.recordings is not None
    assert {failure.message for failure in last.recordings[0].failures} == {"RuntimeError: no events"}


def test_the_startup_is_split_into_the_phases_the_strategy_names() -> None:
    *_, last = events_of(make_job())
    assert last.recordings is not None
    assert last.recordings[0].startup == (
        StartupPhase(name="load", duration_ns=100 * MS),
        StartupPhase(name="compile", duration_ns=300 * MS),
        StartupPhase(name="first call", duration_ns=7 * MS),
    )


def test_the_environment_is_told_before_measuring_starts() -> None:
    kinds = [event.environment is not None for event in events_of(make_job())]
    assert kinds.index(True) < len(kinds) - 2


@pytest.mark.parametrize(
    ("strategy", "field", "words"),
    [
        ("Unavailable", "unavailable", "pip install engine"),
        ("WithoutModel", "refused", "model 'tiny' does not exist"),
        ("BreaksAtOpen", "broken", "ZeroDivisionError: engine start"),
        ("Missing", "refused", "tests.scripted has no class 'Missing'"),
    ],
)
def test_a_strategy_that_does_not_open_says_why_in_one_line(strategy: str, field: str, words: str) -> None:
    *_, last = events_of(make_job(strategy))
    text = getattr(last, field)
    assert words in text
    assert "\n" not in text


def test_a_batch_is_refused_for_a_strategy_that_cannot_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.scripted.Scripted.abilities", frozenset())
    (event,) = events_of(make_job(batch_size=2))
    assert event.refused == "--perf-batch-size: 2 is not allowed with strategy 'scripted', which runs one"


def sampled_job(strategy: str, *lengths: int) -> SessionJob:
    cells = tuple(
        Cell(
            strategy="sampled",
            model=ModelSpec(name="tiny"),
            workload=Workload(prompt_tokens=length, output_tokens=4, batch_size=4),
        )
        for length in lengths
    )
    return replace(make_job(), reference=f"tests.sampled:{strategy}", cells=cells)


def sampling_of(job: SessionJob) -> list[SamplingCheck | None]:
    *_, last = events_of(job)
    assert last.recordings is not None
    return [recording.sampling for recording in last.recordings]


def test_every_recording_says_that_its_tokens_are_a_legal_sample() -> None:
    check, same = sampling_of(sampled_job("Sampled", 20, 8))
    assert check is same
    assert check is not None
    assert (check.problems, check.not_checked) == ((), None)
    assert check.draws >= 48


def test_every_recording_of_a_strategy_that_samples_wrongly_says_so() -> None:
    checks = sampling_of(sampled_job("IgnoresTopP", 20, 8))
    assert all(check is not None and check.problems for check in checks)


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        ("WithoutLogits", "strategy 'sampled' shows no logits"),
        ("BreaksOff", "the check broke off: RuntimeError: no logits today"),
    ],
)
def test_sampling_that_cannot_be_checked_is_said_and_costs_no_sample(strategy: str, reason: str) -> None:
    (check,) = sampling_of(sampled_job(strategy, 8))
    assert check is not None
    assert check.not_checked == reason


def test_a_session_of_a_run_that_was_checked_looks_for_a_shorter_time() -> None:
    job = sampled_job("TakesATenth", 8)
    first, again = (sampling_of(replace(job, was_checked=was_checked))[0] for was_checked in (False, True))
    assert first is not None
    assert again is not None
    assert 0 < again.draws < first.draws
    assert again.left_out
    assert not first.left_out


def test_the_checks_of_a_slow_session_share_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its first pass beside them; a second kind of cell has its part."""
    job = sampled_job("TakesASecond", 8)
    other = replace(job.cells[0], workload=replace(job.cells[0].workload, batch_size=2))
    both = replace(job, cells=(*job.cells, other))
    clocks: list[ScriptedClock] = []

    class Watched(sampled.TakesASecond):
        def evidence(self) -> Evidence:
            clocks.append(self.scripted_clock)
            self.measured_ns = self.scripted_clock.now_ns()
            return super().evidence()

        def close(self) -> None:
            self.checked_s = (self.scripted_clock.now_ns() - self.measured_ns) / 1e9
            assert CHECK_NS / 1e9 - 2 < self.checked_s <= CHECK_NS / 1e9 + 2
            super().close()

    monkeypatch.setattr("tests.sampled.TakesASecond", Watched)
    checks = sampling_of(both)
    assert len(clocks) == 1
    assert all(check is not None and check.left_out and check.draws and not check.problems for check in checks)


def test_a_strategy_that_has_an_alphabet_writes_a_passage_once_a_session() -> None:
    other = replace(sampled_job("Writes", 8).cells[0].workload, batch_size=1, prompt_tokens=12)
    job = sampled_job("Writes", 20, 8)
    checks = sampling_of(replace(job, cells=(*job.cells, replace(job.cells[0], workload=other))))
    passages = [check.passage for check in checks if check is not None]
    assert passages[0] is passages[1] is not None
    assert len(passages[0].before) == 8
    assert 0 < len(passages[0].text) <= 4
    assert passages[2] is None


@pytest.mark.parametrize("strategy", ["Sampled", "HasNoAlphabet", "CannotSpell"])
def test_where_nothing_can_be_written_nothing_is_said(strategy: str) -> None:
    (check,) = sampling_of(sampled_job(strategy, 8))
    assert check is not None
    assert (check.passage, check.not_checked, check.problems) == (None, None, ())
