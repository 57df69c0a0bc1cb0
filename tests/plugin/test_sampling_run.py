"""Timing counts only where the tokens are a legal sample."""

import json

import pytest

from tests.plugin.conftest import Run

FOUR_ROWS = ("--perf-batch-size=4", "--perf-samples=20")


def test_a_strategy_that_samples_wrongly_is_red_and_never_becomes_a_baseline(
    run: Run, project: pytest.Pytester
) -> None:
    saved = run("--save-baseline", "--perf-strategy=tests.sampled:IgnoresTopP", "--perf-sessions=1", *FOUR_ROWS)
    assert saved.ret == pytest.ExitCode.TESTS_FAILED
    saved.stdout.fnmatch_lines(["*its tokens are no legal sample: *"])
    assert not list(project.path.rglob("baselines/*/*/*/*.json"))
    judged = run("--perf", "--perf-strategy=tests.sampled:IgnoresTopP", *FOUR_ROWS)
    assert judged.ret == pytest.ExitCode.TESTS_FAILED
    judged.stdout.fnmatch_lines(["*invalid*its tokens are no legal sample*"])


def test_the_first_session_of_a_run_looks_longest_at_its_tokens(run: Run, project: pytest.Pytester) -> None:
    saved = run(
        *("--save-baseline", "--perf-strategy=tests.sampled:TakesATenth", "--perf-sessions=2", "--perf-samples=20")
    )
    saved.stdout.fnmatch_lines(["sampling of TakesATenth/tiny: * draws are what the parameters ask for*"])
    first, again = (
        {recording["sampling"]["draws"] for recording in json.loads(path.read_text())["recordings"]}
        for path in sorted(project.path.rglob(".perfsuite/runs/*/session-*.json"))
    )
    assert 0 < min(again) <= max(again) < min(first)


def test_a_run_says_whose_sampling_was_checked_and_whose_was_not(run: Run) -> None:
    run("--perf").stdout.fnmatch_lines(["sampling of fake/tiny: not checked: strategy 'fake' shows no logits"])
    checked = run("--perf", "--perf-strategy=tests.sampled:Sampled", *FOUR_ROWS)
    checked.stdout.fnmatch_lines(["sampling of Sampled/tiny: * draws are what the parameters ask for*"])
