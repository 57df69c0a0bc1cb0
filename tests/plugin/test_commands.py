import shlex

import pytest

from perfsuite.plugin import commands
from tests.builders import make_cell

ARGV = ("--perf", "-q", "--perf-strategy", "eager,jit", "-k", "eager", "--perf-inject-slowdown", "10%", "tests/perf")


def test_reproducing_a_cell_keeps_the_options_of_the_run() -> None:
    command = shlex.split(commands.reproduce(ARGV, make_cell()))
    assert command == [
        *("pytest", "--perf", "--perf-strategy", "eager,jit", "--perf-inject-slowdown", "10%", "tests/perf"),
        *("-k", "[eager/tiny/p100-o4"),
    ]


def test_a_baseline_is_recorded_without_the_injected_slowdown_and_with_as_many_sessions_as_it_needs() -> None:
    command = shlex.split(commands.save((*ARGV, "--perf-sessions=1"), make_cell()))
    assert command == [
        *("pytest", "--save-baseline", "--perf-strategy", "eager,jit", "tests/perf", "-k", "[eager/tiny/p100-o4"),
    ]


def test_a_value_given_with_an_equals_sign_is_dropped_with_its_option() -> None:
    assert shlex.split(commands.save_all(("--perf", "--perf-json=out.json"))) == ["pytest", "--save-baseline"]


def test_resuming_adds_one_flag_once() -> None:
    assert shlex.split(commands.resume(("--perf", "--perf-resume"))) == ["pytest", "--perf", "--perf-resume"]


def test_the_command_selects_one_cell_by_words_that_pytest_accepts(pytester: pytest.Pytester) -> None:
    ids = ["cuda-graph/tiny/p100-o4", "jit-cuda-graph/tiny/p100-o4", "cuda-graph/tiny/p10-o4"]
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.parametrize("metric", ["ttft.p50"])
        @pytest.mark.parametrize("cell", {ids!r})
        def test_cell(cell, metric):
            pass
        """
    )
    words = shlex.split(commands.save((), make_cell(strategy="cuda-graph")))[-1]
    pytester.runpytest_inprocess("-p", "no:perfsuite.plugin", "-k", words).assert_outcomes(passed=1, deselected=2)
