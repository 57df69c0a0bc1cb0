"""Command lines that look right and would measure nothing, or look for the baselines elsewhere."""

from collections.abc import Callable
from pathlib import Path

import pytest

Configure = Callable[..., pytest.Config]


@pytest.fixture
def configure(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """pytest with the plugin, told these arguments, up to where it would collect."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.chdir(pytester.mkdir("project"))
    Path("test_speed.py").touch()

    def told(*arguments: str) -> pytest.Config:
        return pytester.parseconfigure("-p", "perfsuite.plugin", *arguments)

    return told


def refusal(configure: Configure, *arguments: str) -> str:
    with pytest.raises(pytest.UsageError) as refused:
        configure(*arguments)
    return str(refused.value)


@pytest.mark.parametrize(
    "argument", ["--perf-strict", "--perf-json=x.json", "--perf-shard=9/2", "--perf-tensor-parallel-size=2"]
)
def test_a_flag_of_a_run_without_a_run_is_refused(configure: Configure, argument: str) -> None:
    told = refusal(configure, argument)
    name = argument.partition("=")[0]
    assert told == f"{name}: nothing is measured without --perf or --save-baseline; add one of them or leave this out"


def test_what_is_always_added_may_stand_without_a_run(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--perf-strict")
    Path("pytest.ini").write_text("[pytest]\naddopts = --perf-strategy=fake\nperf_model = tiny\n")
    assert configure().getoption("perf_strict")


def test_a_value_that_pytest_took_for_a_path_is_told(configure: Configure, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    report = elsewhere / "report.json"
    configure("--perf", "--perf-json", str(report))  # not there yet, and so no path to pytest
    report.touch()
    told = refusal(configure, "--perf", "--perf-json", str(report))
    assert told.startswith(f"--perf-json: pytest takes '{report}' for a test's path and moves its root folder")
    assert f"from {Path.cwd()} to " in told
    assert told.endswith(f"; write --perf-json={report}")
    assert configure("--perf", f"--perf-json={report}").rootpath == Path.cwd()
    assert "write --perf-model=" in refusal(configure, "--perf", "--perf-model", str(elsewhere), "test_speed.py")


def test_a_value_inside_of_the_project_moves_nothing(configure: Configure) -> None:
    Path("pytest.ini").touch()
    Path("out").mkdir()
    Path("out/report.json").touch()
    assert configure("--perf", "--perf-json", "out/report.json", "test_speed.py").rootpath == Path.cwd()


def test_a_root_that_was_named_is_nobodys_mistake(configure: Configure, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.touch()
    assert configure("--perf", "--rootdir=.", "--perf-json", str(report)).rootpath == Path.cwd()
