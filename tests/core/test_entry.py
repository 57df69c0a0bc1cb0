"""What a history keeps of a run."""

from dataclasses import replace

import pytest

from perfsuite.core.codec import CodecError, decode, encode
from perfsuite.core.entry import RunEntry, run_entry, session_entry
from perfsuite.core.recording import Memory
from perfsuite.core.sample import Failure
from perfsuite.core.verdict import Judgement, Outcome
from tests.builders import make_cell, make_recording, make_verdict


def test_a_session_is_kept_by_its_numbers_in_nanoseconds() -> None:
    values = session_entry(make_recording(ttft_ms=40, tpot_ms=2, n=60, decode=4)).values
    assert values["ttft.p50"] == values["ttft.mean"] == values["ttft.p95"] == 40_000_000
    assert values["tpot.p50"] == 2_000_000
    assert values["startup"] == 2_500_000_000


def test_what_has_too_few_samples_or_is_not_known_is_absent() -> None:
    values = session_entry(make_recording(n=20)).values
    assert {"ttft.p99", "ttft_device.p50", "memory", "energy"}.isdisjoint(values)


def test_memory_is_kept_where_it_is_known() -> None:
    recording = replace(make_recording(), memory=Memory(cell_peak=2**30))
    assert session_entry(recording).values["memory"] == 2**30


def test_a_slowed_and_a_broken_session_say_so() -> None:
    entry = session_entry(make_recording(injected_slowdown=0.1, failures=(Failure(stage="worker", message="gone"),)))
    assert (entry.slowed, entry.problem) == (0.1, "stage 'worker' failed: gone")


def test_a_run_holds_its_sessions_and_verdicts_and_survives_a_file() -> None:
    verdicts = (make_verdict(), make_verdict(Outcome.PASSED, "tpot.p50"))
    entry = run_entry(
        [make_recording(session=session) for session in (1, 0)],
        [Judgement(cell=make_cell(), verdicts=verdicts)],
        run_id="a",
        commit="abc",
        perfsuite="0.1",
        kind="judged",
    )
    assert entry.started_at == "2026-01-02T03:04:00Z"
    assert [(each.metric, each.outcome, each.change, each.low) for each in entry.verdicts] == [
        ("ttft.p50", "regressed", 0.163, 0.121),
        ("tpot.p50", "passed", 0.163, 0.121),
    ]
    assert decode(RunEntry, encode(entry)) == entry


def test_sessions_with_one_number_are_kept_apart() -> None:
    recordings = [make_recording(session=2), make_recording(session=2), make_recording(make_cell(prompt=7))]
    entry = run_entry(recordings, [], run_id="a", commit="", perfsuite="", kind="judged")
    assert [(each.cell, each.session) for each in entry.sessions] == [
        ("eager/tiny/p100-o4", 0),
        ("eager/tiny/p100-o4", 1),
        ("eager/tiny/p7-o4", 0),
    ]


def test_a_run_of_another_layout_names_it() -> None:
    entry = run_entry([make_recording()], [], run_id="a", commit="", perfsuite="", kind="judged")
    with pytest.raises(CodecError, match=r"run: schema: 2; this perfsuite reads 1"):
        decode(RunEntry, {**encode(entry), "schema": 2}, where="run")
