"""The whole path on a real model: weights, tokens, processes, baseline, verdict."""

import json
from pathlib import Path

import pytest

from perfsuite.core.workload import ModelSpec
from perfsuite.models.load import load
from tests.plugin.conftest import Run

QUICK = ("--perf-strategy=eager", "--perf-device=cpu", "--perf-samples=20", "--perf-decode-samples=2", "-k", "p10-o4")


def recordings(path: Path) -> list[dict[str, object]]:
    document = json.loads(path.read_text())
    return [recording for cell in document["cells"] for recording in cell["recordings"]]


def test_the_embedded_model_is_measured_saved_and_judged(run: Run, project: pytest.Pytester) -> None:
    run("--save-baseline", "--perf-sessions=2", *QUICK).assert_outcomes(passed=4, deselected=4)
    result = run("--perf", "--perf-sessions=1", "--perf-json=out.json", *QUICK)
    assert result.ret == 0
    measured = recordings(project.path / "out.json")  # more than one if the machine was disturbed and a session void
    assert [recording["failures"] for recording in measured] == [[]] * len(measured) != []
    assert "no baseline" not in str(result.stdout)


def test_a_local_folder_is_read_with_its_own_weights(run: Run, project: pytest.Pytester) -> None:
    load(ModelSpec(name="tiny", device="cpu")).model.save_pretrained(project.path / "mine")
    result = run("--perf", "--perf-model=./mine", *QUICK)
    result.stdout.fnmatch_lines(["eager, *mine (float32) on *"])
