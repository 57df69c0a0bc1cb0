"""A run on a disturbed machine, through the command line: one retry, then invalid with the reason, never slow."""

import json

import pytest

from perfsuite.measure.procfs import is_readable
from tests.plugin.conftest import Run

pytestmark = pytest.mark.skipif(not is_readable(), reason="there is no /proc here")

IN_REAL_TIME = (
    *("--perf-prompt-lengths=10", "--perf-output-tokens=2"),
    *("--perf-samples=8", "--perf-decode-samples=2", "--perf-warmup=1"),
)
ONLY_STOPS = """
from perfsuite.core import rules
from perfsuite.measure import settling

rules.RULES = (rules.stopped,)
settling.LEAST_CALM_NS = 0
"""
"""However restless the machine of this test is: what is not provoked here disturbs nothing. No waiting for calm."""


def disturbed(run: Run, project: pytest.Pytester, strategy: str, *arguments: str) -> pytest.RunResult:
    project.makeconftest(ONLY_STOPS)
    return run("--perf", f"--perf-strategy=tests.disturbed:{strategy}", *IN_REAL_TIME, *arguments, small=False)


def test_a_session_that_was_stopped_again_and_again_is_measured_once_more(run: Run, project: pytest.Pytester) -> None:
    result = disturbed(run, project, "StoppedAtFirst", "--perf-json=out.json")
    result.stdout.fnmatch_lines(
        ["*/p10-o2: the machine was disturbed: the measured process was stopped, during * of * samples; "
         "this session was set aside and measured once more"]
    )  # fmt: skip
    result.stdout.no_fnmatch_line("*invalid*")
    (cell,) = json.loads((project.path / "out.json").read_text())["cells"]
    assert len(cell["recordings"]) == 1
    assert len(list(project.path.glob(".perfsuite/runs/*/session-*.json"))) == 2


def test_a_machine_that_stays_disturbed_makes_the_cell_invalid_with_the_reason(
    run: Run, project: pytest.Pytester
) -> None:
    result = disturbed(run, project, "Stopped")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*/p10-o2: * invalid: session 1: the machine was disturbed: the measured process was *"]
    )


@pytest.mark.slow
def test_a_disturbed_session_is_not_saved_as_a_baseline(run: Run, project: pytest.Pytester) -> None:
    result = disturbed(run, project, "Stopped", "--save-baseline", "--perf-sessions=1")
    assert result.ret == 1
    assert not (project.path / "baselines").exists() or not list(project.path.glob("baselines/**/*.json"))
    result.stdout.fnmatch_lines(["*not saved: the machine was disturbed: the measured process was stopped*"])


def test_a_monitor_that_is_switched_off_is_said_and_finds_nothing(run: Run, project: pytest.Pytester) -> None:
    result = disturbed(run, project, "Stopped", "--perf-monitor=off")
    result.stdout.fnmatch_lines(["not monitored: switched off (--perf-monitor off)"])
    result.stdout.no_fnmatch_line("*the machine was disturbed*")


def test_a_calm_session_is_watched_and_says_nothing_of_the_measured_process(run: Run, project: pytest.Pytester) -> None:
    result = disturbed(run, project, "RealTime", "--perf-json=out.json")
    result.stdout.no_fnmatch_line("*the machine was disturbed*")
    (cell,) = json.loads((project.path / "out.json").read_text())["cells"]
    monitoring = cell["recordings"][0]["monitoring"]
    assert len(monitoring["host"]["at_ns"]) >= 1
    assert monitoring["not_monitored"] == []
