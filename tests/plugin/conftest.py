"""A small project whose perf tests run on scripted latencies."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from perfsuite.strategies.fake import SCRIPT_VARIABLE

LATENCY_TEST = """
import pytest

@pytest.mark.perf
@pytest.mark.parametrize("metric", ["ttft.p50", "ttft.p99", "tpot.p50", "e2e.p50"])
def test_latency(perf_judgement, metric):
    perf_judgement.require(metric)
"""

SMALL = ("--perf-strategy=fake", "--perf-prompt-lengths=10,20", "--perf-output-tokens=4", "--perf-samples=60")

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with one perf test; the fake model is quiet, and no two sessions are alike."""
    script = {"session_sd": 0.002, "sample_sd": 0.005}
    monkeypatch.setenv(SCRIPT_VARIABLE, json.dumps(script))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytester.makepyfile(test_speed=LATENCY_TEST)
    return pytester


@pytest.fixture
def run(project: pytest.Pytester) -> Run:
    """pytest with the plugin, in a process of its own, on two small cells."""

    def run_pytest(*arguments: str, small: bool = True) -> pytest.RunResult:
        return project.runpytest_subprocess("-p", "perfsuite.plugin", *(SMALL if small else ()), *arguments)

    return run_pytest
