"""The suite as a product: what a wheel holds, in a folder that knows nothing of this repository."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import perfsuite
from perfsuite import suite
from perfsuite.strategies.fake import SCRIPT_VARIABLE
from tests.measured import QUIET
from tests.perf import test_latency, test_sampling

SMALL = ("--perf-strategy=fake", "--perf-model=tiny", "--perf-prompt-lengths=10", "--perf-samples=60")
Suite = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_suite(tmp_path: Path) -> Suite:
    """The suite in an empty folder, from a copy of the package that stands alone, its entry point included."""
    site, folder = tmp_path / "site", tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copytree(Path(perfsuite.__file__).parent, site / "perfsuite", ignore=shutil.ignore_patterns("__pycache__"))
    info = site / "perfsuite-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: perfsuite\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[pytest11]\nperfsuite.plugin = perfsuite.plugin\n")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        small = SMALL if {"--perf", "--save-baseline"} & set(arguments) else ()
        environment = {**os.environ, "PYTHONPATH": str(site), SCRIPT_VARIABLE: QUIET, "PYTEST_ADDOPTS": ""}
        command = [sys.executable, "-m", "pytest", *arguments, "--pyargs", "perfsuite.suite", *small]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    return run


def test_the_suite_measures_saves_and_judges_in_any_folder(run_suite: Suite, tmp_path: Path) -> None:
    saved = run_suite("--save-baseline", "--perf-sessions=4", "-k", "latency")
    assert saved.returncode == 0, saved.stdout
    assert [path.name for path in (tmp_path / "elsewhere" / "baselines").rglob("*.json")] == ["p10-o32.json"]
    judged = run_suite("--perf", "--perf-inject-slowdown=50%", "-rs")
    assert judged.returncode == 1
    assert "fake/tiny/p10-o32: TTFT P50 regressed" in judged.stdout
    assert "test_latency_stays_within_tolerance[fake/tiny/p10-o32-ttft.p50]" in judged.stdout
    assert "strategy 'fake' shows no logits" in judged.stdout


def test_without_perf_the_suite_is_skipped(run_suite: Suite) -> None:
    result = run_suite("-rs")
    assert result.returncode == 0
    assert "needs --perf" in result.stdout


def test_the_repository_runs_every_test_of_the_suite_under_its_own_ids() -> None:
    for module, name in ((test_latency, "test_latency"), (test_sampling, "test_sampling")):
        source = (Path(suite.__file__).parent / f"{name}.py").read_text(encoding="utf-8")
        shipped = {
            line.split("(")[0].removeprefix("def ") for line in source.splitlines() if line.startswith("def test_")
        }
        assert shipped == set(module.__all__)
        assert all(getattr(module, test).__module__ == f"perfsuite.suite.{name}" for test in shipped)
