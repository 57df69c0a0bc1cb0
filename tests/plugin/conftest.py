"""A small project whose perf tests run on scripted latencies."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from perfsuite.strategies.fake import SCRIPT_VARIABLE
from tests.measured import QUIET

LATENCY_TEST = """
import pytest

@pytest.mark.perf
@pytest.mark.parametrize("metric", ["ttft.p50", "ttft.p99", "tpot.p50", "e2e.p50"])
def test_latency(perf_judgement, metric):
    perf_judgement.require(metric)
"""

ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""Leaves out the plugins that happen to be installed, which take half of a small run's time."""
SMALL = ("--perf-strategy=fake", "--perf-prompt-lengths=10,20", "--perf-output-tokens=4", "--perf-samples=60")

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def beside_other_plugins() -> bool:
    """Whether pytest loads whatever other plugins are installed."""
    return False


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, beside_other_plugins: bool) -> pytest.Pytester:
    """A folder with one perf test; the fake model is quiet, and no two sessions are alike."""
    monkeypatch.setenv(SCRIPT_VARIABLE, QUIET)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    for name, value in ({} if beside_other_plugins else ALONE).items():
        monkeypatch.setenv(name, value)
    pytester.makepyfile(test_speed=LATENCY_TEST)
    return pytester


@pytest.fixture
def run(project: pytest.Pytester) -> Run:
    """pytest with the plugin, in a process of its own, on two small cells."""

    def run_pytest(*arguments: str, small: bool = True) -> pytest.RunResult:
        return project.runpytest_subprocess("-p", "perfsuite.plugin", *(SMALL if small else ()), *arguments)

    return run_pytest


@pytest.fixture(scope="session")
def saved_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which pytest has saved the baselines of the two small cells, of eight sessions each."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "test_speed.py").write_text(LATENCY_TEST)
    environment = {**os.environ, **ALONE, SCRIPT_VARIABLE: QUIET, "PYTEST_ADDOPTS": ""}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "pytest", "-p", "perfsuite.plugin", *SMALL, "--save-baseline"]
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    return folder / "baselines"


@pytest.fixture
def saved(saved_once: Path, project: pytest.Pytester) -> Path:
    """The baselines of the two small cells, in the project."""
    return Path(shutil.copytree(saved_once, project.path / "baselines"))
