"""Memory and energy as gated quantities: one value a session."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from perfsuite.core.judgement import judge_cell
from perfsuite.core.options import DEFAULT_RESOURCES, GateOptions, parse_resources, parse_tolerances
from perfsuite.core.recording import Memory, Recording
from perfsuite.core.resources import judge_resources, peak_memory
from perfsuite.core.verdict import Outcome, Verdict
from tests.builders import make_baseline, make_cell, make_environment, make_recording, make_verdict

GIB = 2**30


def holding(*gib: float) -> list[Recording]:
    return [
        replace(make_recording(session=index), memory=Memory(cell_peak=round(each * GIB)))
        for index, each in enumerate(gib)
    ]


def verdict(there: Sequence[float], here: Sequence[float], tolerance: float = 0.02) -> Verdict:
    (found,) = judge_resources(holding(*there), holding(*here), {"memory": tolerance})
    return found


@pytest.mark.parametrize(
    ("here", "outcome"),
    [
        ([10.0], Outcome.PASSED),
        ([10.19], Outcome.PASSED),
        ([9.81], Outcome.PASSED),
        ([10.21], Outcome.REGRESSED),
        ([9.79], Outcome.IMPROVED),
        ([10.3, 10.4], Outcome.REGRESSED),
        ([10.0, 10.4], Outcome.INCONCLUSIVE),
        ([9.7, 10.0], Outcome.PASSED),
    ],
)
def test_memory_is_worse_where_every_session_needs_more_than_the_tolerance(here: list[float], outcome: Outcome) -> None:
    assert verdict([10.0, 10.0, 10.1], here).outcome is outcome


def test_a_verdict_on_memory_holds_the_bytes_and_the_change() -> None:
    found = verdict([10.0], [11.0])
    assert (found.metric, found.baseline, found.candidate) == ("memory", 10 * GIB, 11 * GIB)
    assert found.change == pytest.approx(0.1)


def test_a_baseline_whose_own_sessions_differ_by_more_decides_nothing() -> None:
    found = verdict([10.0, 10.5], [12.0])
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.reason == "the baseline's own sessions differ by 5.0 %, 2 % is gated"


def test_a_baseline_of_a_time_that_did_not_know_it_is_not_judged() -> None:
    assert judge_resources([make_recording()], holding(10.0), {"memory": 0.02}) == ()


def test_memory_that_is_not_told_any_more_is_left_undecided_with_the_reason() -> None:
    (found,) = judge_resources(holding(10.0), [make_recording()], {"memory": 0.02})
    assert (found.outcome, found.change) == (Outcome.INCONCLUSIVE, None)
    assert found.reason == "peak memory: not told here, though the baseline knows it"


def test_a_tolerance_of_zero_gates_nothing() -> None:
    assert judge_resources(holding(10.0), holding(20.0), {"memory": 0.0}) == ()


@pytest.mark.parametrize(
    ("worse", "outcome"), [(1, Outcome.INCONCLUSIVE), (2, Outcome.INCONCLUSIVE), (3, Outcome.REGRESSED)]
)
def test_energy_needs_three_sessions_that_agree(worse: int, outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitored session has one value of it, and that is no exact one."""
    from perfsuite.core import resources

    energy = replace(resources.RESOURCES["energy"], of_recording=lambda recording: float(recording.session))
    monkeypatch.setattr(resources, "RESOURCES", {"energy": energy})
    (found,) = judge_resources([make_recording(session=10)], [make_recording(session=12)] * worse, {"energy": 0.1})
    assert (found.outcome, found.sessions_help) == (outcome, outcome is Outcome.INCONCLUSIVE)


def test_the_memory_of_a_cell_is_its_own_peak_and_of_an_engine_elsewhere_what_its_processes_hold() -> None:
    def peak(**sizes: int) -> float | None:
        return peak_memory(replace(make_recording(), memory=Memory(**sizes)))

    assert peak(cell_peak=5, peak_reserved=9, device_used=20) == 5
    assert peak(device_used=20) == 20
    assert peak(peak_reserved=9, device_used=20) is None
    assert peak(host_peak=7) is None


def test_memory_has_a_tolerance_of_two_percent_by_default() -> None:
    assert DEFAULT_RESOURCES == {"memory": 0.02}
    assert GateOptions().resources == DEFAULT_RESOURCES


def test_tolerances_of_resources_stand_among_those_of_metrics() -> None:
    text = "ttft.p50=5%, memory=3%,energy=off"
    assert parse_resources(text, where="t") == {"memory": 0.03, "energy": 0.0}
    assert [metric.key for metric in parse_tolerances(text, where="t")] == ["ttft.p50"]


def test_a_cell_is_judged_with_its_resources_beside_its_metrics() -> None:
    stored = make_baseline(*holding(10.0, 10.0, 10.0))
    judgement = judge_cell(
        make_cell(),
        stored,
        tuple(holding(11.0)),
        tolerances={},
        gates=1,
        options=GateOptions(),
        resources={"memory": 0.02},
    )
    assert (judgement.verdicts, [v.outcome for v in judgement.resources]) == ((), [Outcome.REGRESSED])
    found = judgement.verdict("memory")
    assert found is not None
    assert found.outcome.fails


def test_an_incomparable_cell_has_no_verdict_on_its_resources() -> None:
    other = make_recording(environment=make_environment("NVIDIA H200"))
    judgement = judge_cell(
        make_cell(),
        make_baseline(*holding(10.0)),
        (other,),
        tolerances={},
        gates=1,
        options=GateOptions(),
        resources={"memory": 0.02},
    )
    assert judgement.all == ()


def test_the_verdicts_of_all_kinds_are_one_list() -> None:
    judgement = judge_cell(make_cell(), None, (make_recording(),), tolerances={}, gates=1, options=GateOptions())
    both = replace(judgement, verdicts=(make_verdict(),), resources=(make_verdict(metric="memory"),))
    assert [each.metric for each in both.all] == ["ttft.p50", "memory"]
