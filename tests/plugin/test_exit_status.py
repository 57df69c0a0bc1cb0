"""What a run ends with: pytest's own status, or the one that runs which only stay inconclusive were given."""

import pytest

from tests.plugin.conftest import Run

pytestmark = pytest.mark.slow

OWN = "--perf-inconclusive-exit=75"


def test_a_run_that_only_stays_inconclusive_ends_with_its_own_status_and_says_so(run: Run) -> None:
    """60 samples decide no P99."""
    run("--save-baseline")
    result = run("--perf", OWN)
    assert result.ret == 75
    result.stdout.fnmatch_lines(
        ["--perf-inconclusive-exit: nothing failed, 2 of 12 gates stayed inconclusive: exit status 75"]
    )


def test_without_the_flag_an_inconclusive_run_ends_green(run: Run) -> None:
    run("--save-baseline")
    assert run("--perf").ret == pytest.ExitCode.OK


def test_a_run_that_decides_every_gate_ends_green(run: Run) -> None:
    run("--save-baseline")
    assert run("--perf", "--perf-tolerance=ttft.p99=off", OWN).ret == pytest.ExitCode.OK


def test_a_red_gate_beside_an_inconclusive_one_is_a_failed_run(run: Run) -> None:
    run("--save-baseline")
    assert run("--perf", "--perf-inject-slowdown=10%", OWN).ret == pytest.ExitCode.TESTS_FAILED


def test_a_strict_run_fails_what_is_inconclusive_all_the_same(run: Run) -> None:
    run("--save-baseline")
    assert run("--perf", "--perf-strict", OWN).ret == pytest.ExitCode.TESTS_FAILED


def test_what_has_no_baseline_is_not_inconclusive(run: Run) -> None:
    assert run("--perf", OWN).ret == pytest.ExitCode.OK


def test_saving_a_baseline_is_never_inconclusive(run: Run) -> None:
    assert run("--save-baseline", OWN).ret == pytest.ExitCode.OK


def test_the_status_can_stand_in_the_ini_file(run: Run, project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nperf_inconclusive_exit = 75")
    run("--save-baseline")
    assert run("--perf").ret == 75
