"""Runs of a strategy whose times lie above, or below, what its device can do."""

from pathlib import Path

import pytest

from tests.plugin.conftest import Run

CELL = ("--perf-prompt-lengths=10", "--perf-output-tokens=4", "--perf-samples=60", "--perf-sessions=2")


def lines_with(result: pytest.RunResult, words: str) -> list[str]:
    return [line for line in result.outlines if words in line]


def test_times_below_the_floor_are_invalid_and_no_record(run: Run) -> None:
    result = run("--perf", "--perf-strategy=tests.scripted:TooFast", *CELL, small=False)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert lines_with(result, "perfsuite: 6 gates: 6 invalid")
    line = lines_with(result, "invalid: session 1: ")[-1]
    assert line.partition(" invalid: session 1: ")[2].startswith(
        "70 of 70 samples faster than the device can be; sample 1 has a TTFT of 5.00 ms, "
        "the floor is 20.0 ms (read bandwidth 1.00 TB/s; with all doubt about that 10.0 ms)"
    )


def test_times_below_the_floor_are_not_saved(run: Run, project: pytest.Pytester) -> None:
    result = run("--save-baseline", "--perf-strategy=tests.scripted:TooFast", *CELL, small=False)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert lines_with(result, "faster than the device can be")
    assert not list(Path(project.path).glob("baselines/**/*.json"))


def test_times_above_the_floor_are_saved_with_it_and_shown_as_a_share_of_it(run: Run, project: pytest.Pytester) -> None:
    """A floor of 1 ms, 5 ms to the first token and 2 ms a step."""
    result = run("--save-baseline", "--perf-strategy=tests.scripted:Limited", *CELL, small=False)
    assert result.ret == 0
    (row,) = [line.split() for line in result.outlines if line.strip().startswith("10 ")]
    assert row[-6:-2] == ["20", "%", "50", "%"]
    (stored,) = Path(project.path).glob("baselines/**/*.json")
    assert '"roofline": {' in stored.read_text()


def test_a_strategy_that_knows_no_limits_is_not_checked(run: Run) -> None:
    result = run("--perf", "--perf-strategy=tests.scripted:Scripted", *CELL, small=False)
    assert not lines_with(result, "faster than the device can be")
    assert not lines_with(result, "of limit")
