"""The self-test of a run, through the command line."""

from pathlib import Path

import pytest

from tests.plugin.conftest import Run

OFF = "--perf-tolerance=ttft.p99=off"


def test_a_run_proves_its_gate_after_its_verdicts_and_stays_green(run: Run, saved: Path) -> None:
    result = run("--perf", "--perf-selftest", OFF)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "perfsuite: * gates: * passed",
            "self-test of fake on tiny: baselines of 2 cells, 8 sessions",
            "same code: 0 of 100 replays of the suite had a red gate*",
            "real sessions, every event 10 % later: 6 regressed, * passed; 3 sessions*",
            "fake/tiny/p10-o4: catches *",
            "perfsuite: self-test: 6 of 6 slowed gates red, none passed silently",
        ]
    )


def test_a_selftest_is_refused_while_a_baseline_is_saved_or_a_slowdown_injected(run: Run) -> None:
    saving = run("--save-baseline", "--perf-selftest")
    assert saving.ret == pytest.ExitCode.USAGE_ERROR
    saving.stderr.fnmatch_lines(["ERROR: --perf-selftest: not together with --save-baseline; *"])
    slowing = run("--perf", "--perf-selftest", "--perf-inject-slowdown=10%")
    assert slowing.ret == pytest.ExitCode.USAGE_ERROR
    slowing.stderr.fnmatch_lines(["ERROR: --perf-selftest: it injects a slowdown of its own; *"])


def test_without_a_baseline_there_is_nothing_to_prove_and_that_is_said(run: Run) -> None:
    result = run("--perf", "--perf-selftest")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["--perf-selftest: no cell of this run has a baseline; save one with: *"])
    result.stdout.no_fnmatch_line("self-test of*")
