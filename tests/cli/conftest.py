"""A folder in which the scripted strategy was really measured by pytest: baselines, a same run and a slowed one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perfsuite.strategies.fake import SCRIPT_VARIABLE
from tests.measured import QUIET
from tests.plugin.conftest import ALONE, LATENCY_TEST, SMALL


@pytest.fixture(scope="package")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """baselines/, same.json, slow.json (slowed by 10 %) and the two runs' folders below .perfsuite/runs/."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "test_speed.py").write_text(LATENCY_TEST)
    for arguments in (
        ("--save-baseline",),
        ("--perf", "--perf-json=same.json"),
        ("--perf", "--perf-json=slow.json", "--perf-inject-slowdown=10%"),
    ):
        _pytest(folder, *arguments)
    return folder


def _pytest(folder: Path, *arguments: str) -> None:
    environment = {
        **os.environ,
        **ALONE,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        SCRIPT_VARIABLE: QUIET,
        "PYTEST_ADDOPTS": "",
    }
    command = [sys.executable, "-m", "pytest", "-p", "perfsuite.plugin", *SMALL, *arguments]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == ("--perf-inject-slowdown=10%" in arguments), result.stdout + result.stderr
