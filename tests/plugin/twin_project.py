"""A repository whose strategy is scripted: a commit is as slow as its file says, and the machine as the environment."""

import json
from pathlib import Path

import pytest

from perfsuite.strategies.fake import SCRIPT_VARIABLE
from tests.repository import Repository

MODEL = """
from dataclasses import replace
from perfsuite.strategies.fake import FakeStrategy, script_from_environment
{before}
TIMES = {times}

class Model(FakeStrategy):
    def __init__(self):
        script = script_from_environment()
        slower = {{name: round(getattr(script, name) * TIMES) for name in ("prefill_ns", "prompt_token_ns", "step_ns")}}
        super().__init__(replace(script, **slower))
{after}
"""
SPEED_TEST = """
import pytest

@pytest.mark.perf
@pytest.mark.parametrize("metric", ["ttft.p50"])
def test_latency(perf_judgement, metric):
    perf_judgement.require(metric)
"""
FLAGS = (
    *("-p", "perfsuite.plugin", "-p", "no:cacheprovider", "--perf-strategy=model.py:Model"),
    *("--perf-prompt-lengths=10", "--perf-output-tokens=2", "--perf-samples=20", "--perf-decode-samples=1"),
    "--perf-tolerance=ttft_device.p50=off,tpot.p50=off,tpot_device.p50=off,e2e.p50=off,ttft.p99=off",
)
QUIET = {"session_sd": 0.0005, "sample_sd": 0.001}


def model(times: float = 1.0, *, before: str = "", after: str = "") -> str:
    """The file of a strategy that takes so many times as long."""
    return MODEL.format(times=times, before=before, after=after)


class TwinProject:
    """The repository, and pytest in it."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pytester = pytester
        self.repository = Repository(pytester.path)
        self.temporary = pytester.path.parent / f"{pytester.path.name}-temporary"
        self.temporary.mkdir()
        monkeypatch.setenv("TMPDIR", str(self.temporary))
        monkeypatch.setenv("XDG_CACHE_HOME", str(pytester.path.parent / f"{pytester.path.name}-cache"))
        monkeypatch.setenv(SCRIPT_VARIABLE, json.dumps(QUIET))
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
        (pytester.path / "test_speed.py").write_text(SPEED_TEST)
        (pytester.path / ".gitignore").write_text(
            ".perfsuite/\n__pycache__/\nbaselines/\nmodels/\nold/\n*.json\nstdout\nstderr\nrunpytest-*\n"
        )

    def commit(self, message: str, text: str) -> str:
        return self.repository.commit(message, model_py=text)

    def run(self, *arguments: str) -> pytest.RunResult:
        return self._pytester.runpytest_subprocess("--perf", *FLAGS, *arguments)

    def left_behind(self) -> list[str]:
        """Temporary folders and worktrees that are still there."""
        worktrees = self.repository.git("worktree", "list").splitlines()[1:]
        return [*worktrees, *(path.name for path in self.temporary.glob("perfsuite-*"))]


def said(result: pytest.RunResult) -> str:
    """Everything that a run wrote, and that no traceback is in it."""
    text = f"{result.stdout}\n{result.stderr}"
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    return text
