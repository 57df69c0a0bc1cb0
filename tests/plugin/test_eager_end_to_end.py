"""The whole path on a real model: weights, tokens, processes, baseline, verdict."""

import importlib.metadata
import importlib.util
import json
import os
import shutil
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
    run("--save-baseline", "--perf-sessions=1", *QUICK).assert_outcomes(passed=4, deselected=4)
    result = run("--perf", "--perf-sessions=1", "--perf-json=out.json", *QUICK)
    assert result.ret == 0
    measured = recordings(project.path / "out.json")  # more than one if the machine was disturbed and a session void
    assert [recording["failures"] for recording in measured] == [[]] * len(measured) != []
    assert "no baseline" not in str(result.stdout)


def test_quantized_weights_are_shown_with_their_size_and_have_a_baseline_of_their_own(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    # not imported here: what is imported beside pytester is taken out of sys.modules again, and torch allows no second
    found = importlib.util.find_spec("torchao")
    if found is None or found.origin is None:
        pytest.skip("needs the extra quantization")
    monkeypatch.setenv("PYTHONPATH", str(Path(found.origin).parents[1]), prepend=os.pathsep)
    result = run("--save-baseline", "--perf-sessions=1", "--perf-quantization=int8", *QUICK)
    weights = f"quantization: int8 weight-only (torchao {importlib.metadata.version('torchao')})"
    result.stdout.fnmatch_lines(
        [
            "eager, tiny (float32, int8) on *",
            "  weights: * KiB, keys and values of the longest request: * KiB",
            f"  evidence: *{weights}*",
        ]
    )
    (stored,) = (project.path / "baselines").rglob("*.json")
    assert stored.parts[-3:] == ("tiny-int8", "eager", "p10-o4.json")
    assert f'"quantization": "{weights.partition(": ")[2]}"' in stored.read_text()


def test_a_strategy_that_cannot_quantize_says_so_in_one_line(run: Run) -> None:
    result = run("--perf", "--perf-quantization=int8", "--perf-samples=20")
    words = "*strategy 'fake' cannot quantize weights to int8; drop the flag, or use --perf-strategy eager*"
    result.stdout.fnmatch_lines([words])
    assert "Traceback" not in str(result.stdout)


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder, written before there is a pytester."""
    folder = tmp_path_factory.mktemp("models") / "mine"
    load(ModelSpec(name="tiny", device="cpu")).model.save_pretrained(folder)
    return folder


def test_a_local_folder_is_read_with_its_own_weights(saved_model: Path, run: Run, project: pytest.Pytester) -> None:
    shutil.copytree(saved_model, project.path / "mine")
    result = run("--perf", "--perf-model=./mine", *QUICK)
    result.stdout.fnmatch_lines(["eager, *mine (float32) on *"])
