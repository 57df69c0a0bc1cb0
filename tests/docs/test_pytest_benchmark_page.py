"""What docs/pytest-benchmark.md quotes is what pytest-benchmark prints and writes."""

import json
import subprocess
import sys
from typing import Any

import pytest

from perfsuite.strategies.fake import SCRIPT_VARIABLE
from tests.docs.blocks import quoted
from tests.plugin.conftest import Run, project, run

pytest.importorskip("pytest_benchmark")

__all__ = ["project", "run"]
PAGE = "pytest-benchmark.md"
COMPARE = ("compare", "--group-by=fullname", "--columns=median,iqr,rounds", "--time-unit=ms")


@pytest.fixture
def beside_other_plugins() -> bool:
    return True


def test_the_comparison_and_the_keys_are_those_of_a_run(
    run: Run,
    project: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two runs of the scripted strategy with one seed, the second slowed by 10 %."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setenv(SCRIPT_VARIABLE, json.dumps({"session_sd": 0.002, "sample_sd": 0.005, "seed": 7}))
    run("--perf", "--perf-prompt-lengths=100", "--benchmark-save=main", "--benchmark-json=b.json")
    run("--perf", "--perf-prompt-lengths=100", "--benchmark-save=branch", "--perf-inject-slowdown=10%")
    command = [sys.executable, "-m", "pytest_benchmark", *COMPARE]
    printed = subprocess.run(command, cwd=project.path, check=True, capture_output=True, text=True).stdout
    wanted = [line.rstrip() for line in printed.partition("Legend:")[0].strip().splitlines()]
    assert wanted == quoted(PAGE, "tests/docs/test_pytest_benchmark_page.py: comparison").strip().splitlines()
    first = json.loads((project.path / "b.json").read_text())["benchmarks"][0]
    shown = json.loads(quoted(PAGE, "tests/docs/test_pytest_benchmark_page.py: a benchmark"))
    for name, value in shown.pop("extra_info").items():
        assert rounded(first["extra_info"][name], value) == value
    assert {name: first[name] for name in shown} == shown


def rounded(value: Any, like: Any) -> Any:
    """As many decimals, and as many keys, as the page shows."""
    if isinstance(value, dict):
        return {name: value[name] for name in like}
    return round(value, 3) if isinstance(value, float) else value
