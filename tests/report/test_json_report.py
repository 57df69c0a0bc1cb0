import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

import perfsuite
from perfsuite.core.codec import decode, encode
from perfsuite.core.drift import Drift
from perfsuite.core.errors import OptionError
from perfsuite.core.options import Options
from perfsuite.core.recording import Recording
from perfsuite.core.verdict import Judgement, Outcome, Verdict
from perfsuite.report.json_report import check_writable, document, write
from tests.builders import make_cell, make_recording, make_roofline, make_verdict

CELL = make_cell()


def test_a_report_says_who_wrote_it() -> None:
    report = document(Options(), (), (), ("stored but not measured in this run: eager/tiny/p1-o1",))
    assert (report["schema"], report["perfsuite"]) == (6, perfsuite.__version__)
    assert report["notes"] == ["stored but not measured in this run: eager/tiny/p1-o1"]


def test_tolerances_stand_under_their_metrics() -> None:
    assert document(Options(), (), ())["options"]["gate"]["tolerances"]["ttft.p50"] == 0.05


def test_raw_samples_can_be_read_back_from_the_report(tmp_path: Path) -> None:
    recordings = (make_recording(CELL, noise=0.1, device=True), make_recording(CELL, session=1, noise=0.1))
    write(tmp_path / "report.json", document(Options(), recordings, ()))
    (cell,) = json.loads((tmp_path / "report.json").read_text())["cells"]
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


def test_a_report_that_cannot_be_written_is_one_line_and_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "report.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OptionError) as caught:
        write(path, document(Options(), (), ()))
    assert str(caught.value) == f"--perf-json: {path} cannot be written (No space left on device)"
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_a_path_in_a_folder_that_can_be_made_passes_the_check(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "report.json")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_fails_the_check(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="is a folder; name a file"):
        check_writable(tmp_path)


def test_a_path_below_a_file_fails_the_check(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match=r"cannot be written \(Not a directory\); name a file in a folder"):
        check_writable(tmp_path / "file" / "report.json")
