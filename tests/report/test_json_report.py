import json
from dataclasses import replace

import pytest

import perfsuite
from perfsuite.core.codec import decode, encode
from perfsuite.core.drift import Drift
from perfsuite.core.options import Options
from perfsuite.core.recording import Recording
from perfsuite.core.sample import Failure
from perfsuite.core.verdict import Judgement, Outcome, Verdict
from perfsuite.report.json_report import SCHEMA, document, report, text
from perfsuite.report.run import Run
from tests.builders import make_baseline, make_cell, make_recording, make_roofline, make_verdict

CELL = make_cell()


def test_a_report_says_who_wrote_it() -> None:
    report = document(Options(), (), (), ("stored but not measured in this run: eager/tiny/p1-o1",))
    assert (report["schema"], report["perfsuite"]) == (SCHEMA, perfsuite.__version__)
    assert report["notes"] == ["stored but not measured in this run: eager/tiny/p1-o1"]


def test_tolerances_stand_under_their_metrics() -> None:
    assert document(Options(), (), ())["options"]["gate"]["tolerances"]["ttft.p50"] == 0.05


def test_raw_samples_can_be_read_back_from_the_report() -> None:
    recordings = (make_recording(CELL, noise=0.1, device=True), make_recording(CELL, session=1, noise=0.1))
    (cell,) = json.loads(text(Run(options=Options(), recordings={CELL: recordings})))["cells"]
    assert tuple(decode(Recording, data) for data in cell["recordings"]) == recordings


def test_a_cell_has_a_summary_per_series_over_all_sessions() -> None:
    recordings = [make_recording(CELL, ttft_ms=40), make_recording(CELL, session=1, ttft_ms=60)]
    (cell,) = document(Options(), recordings, ())["cells"]
    ttft = cell["summaries"]["ttft"]
    assert (ttft["count"], ttft["mean"]) == (40, 50_000_000)
    assert ttft["p99"]["value"] is None
    assert ttft["p99"]["missing"] == 299 - 40
    assert "ttft_device" not in cell["summaries"]


def test_a_cell_has_its_limits_its_floors_and_what_it_achieved_of_them() -> None:
    """1 TB/s for a prompt of 1 GB and 100 tokens of 0.01 ms; the medians are 40 ms and 2 ms."""
    recording = replace(make_recording(CELL), roofline=make_roofline(read_ms=1.0, token_ms=0.01))
    (cell,) = document(Options(), (recording, replace(recording, session=1, roofline=None)), ())["cells"]
    assert cell["roofline"]["limits"]["reading"] == {"measured": 1e12, "ceiling": 1.25e12}
    assert cell["roofline"]["work"]["weight_bytes"] == 10**9
    assert cell["roofline"]["floors_ns"]["tpot"] == 1_000_000
    assert cell["roofline"]["achieved"] == pytest.approx({"ttft": 1 / 40, "tpot": 0.5, "e2e": 4 / 46})


def test_a_cell_without_limits_has_no_roofline() -> None:
    (cell,) = document(Options(), (make_recording(CELL),), ())["cells"]
    assert cell["roofline"] is None


def test_a_cell_has_its_verdicts() -> None:
    judgement = Judgement(cell=CELL, verdicts=(make_verdict(), make_verdict(Outcome.PASSED, "tpot.p50")))
    (cell,) = document(Options(), (make_recording(CELL),), (judgement,))["cells"]
    assert cell["id"] == CELL.id
    assert [decode(Verdict, data) for data in cell["verdicts"]] == list(judgement.verdicts)


def test_a_drift_stands_in_its_cell() -> None:
    drift = Drift(
        cell=CELL,
        metric="ttft.p50",
        day=9,
        days=16,
        session=16,
        sessions=23,
        since="2026-01-09T00:00:00Z",
        change=0.02,
        chance=1e-4,
    )
    other = make_cell(prompt=200)
    found = document(Options(), (make_recording(CELL), make_recording(other)), (), drifts=(drift,))["cells"]
    assert [cell["drifts"] for cell in found] == [[{k: v for k, v in encode(drift).items() if k != "cell"}], []]
    assert found[0]["drifts"][0]["since"] == "2026-01-09T00:00:00Z"


def test_a_cell_that_was_judged_without_a_recording_is_in_the_report() -> None:
    (cell,) = document(Options(), (), (Judgement(cell=CELL, verdicts=(make_verdict(),)),))["cells"]
    assert cell["recordings"] == []
    assert cell["summaries"] == {}


def test_a_recording_without_samples_is_in_the_report() -> None:
    (cell,) = document(Options(), (make_recording(CELL, n=0, decode=0),), ())["cells"]
    assert len(cell["recordings"]) == 1


def test_a_cell_says_what_it_was_judged_by_and_how_to_measure_it_again() -> None:
    run = Run(
        options=Options(),
        recordings={CELL: (make_recording(CELL),)},
        baselines={CELL: make_baseline(sessions=5, commit="abc1234")},
        unavailable={make_cell("vllm"): "vLLM is not installed"},
        command="pytest --perf",
        reproduce=lambda cell: f"pytest --perf -k '[{cell.id}'",
    )
    data = report(run)
    (cell,) = data["cells"]
    assert (cell["baseline"]["commit"], cell["baseline"]["sessions"]) == ("abc1234", 5)
    assert cell["baseline"]["environment"] == data["environments"][0] == encode(make_recording(CELL).environment)
    assert cell["reproduce"] == f"pytest --perf -k '[{CELL.id}'"
    assert data["command"] == "pytest --perf"
    assert data["unavailable"] == {make_cell("vllm").id: "vLLM is not installed"}


def test_why_a_recording_may_not_be_believed_is_in_its_cell() -> None:
    broken = make_recording(CELL, failures=(Failure(stage="measure", message="out of memory"),))
    (cell,) = report(Run(options=Options(), recordings={CELL: (make_recording(CELL), replace(broken, session=1))}))[
        "cells"
    ]
    assert [problem["session"] for problem in cell["problems"]] == [1]
    assert "out of memory" in cell["problems"][0]["problem"]
