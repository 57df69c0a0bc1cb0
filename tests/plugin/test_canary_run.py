"""Runs on a scripted host that is 8 % slower or faster in every session, while its canary tells."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from perfsuite.core.baseline import Baseline
from perfsuite.core.codec import decode
from perfsuite.store import BaselineStore
from perfsuite.strategies.fake import SCRIPT_VARIABLE
from tests.plugin.conftest import ALONE, LATENCY_TEST, Run

ENVIRONMENT = {
    SCRIPT_VARIABLE: json.dumps({"session_sd": 0.002, "sample_sd": 0.005, "host_sd": 0.08}),
    **ALONE,
}
ARGUMENTS = (
    "--perf-strategy=tests.scripted:Repeatable",
    "--perf-prompt-lengths=10",
    "--perf-output-tokens=4",
    "--perf-samples=60",
    "--perf-tolerance=ttft.p99=off",
)
FILE = "baselines/scripted/tiny/Repeatable/p10-o4.json"
HOST_METRICS = ("ttft.p50", "tpot.p50", "e2e.p50")


@dataclass(frozen=True)
class Saved:
    """A folder in which a baseline of eight sessions was saved, and what that run said."""

    folder: Path
    lines: list[str]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    folder = tmp_path_factory.mktemp("saved")
    (folder / "test_speed.py").write_text(LATENCY_TEST)
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "perfsuite.plugin", *ARGUMENTS, "--save-baseline"],
        cwd=folder,
        env={name: value for name, value in environment.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        check=True,
    )
    return Saved(folder, ended.stdout.splitlines())


@pytest.fixture
def run_again(saved: Saved, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, run: Run) -> Run:
    """pytest in a copy of that folder; its sessions draw other numbers than the baseline's, always the same."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    shutil.copytree(saved.folder / "baselines", project.path / "baselines")
    shutil.copy(saved.folder / "sessions.tally", project.path)
    return lambda *arguments: run(*ARGUMENTS, *arguments, small=False)


def read(folder: Path) -> Baseline:
    return decode(Baseline, json.loads((folder / FILE).read_text())["baseline"])


def change(folder: Path, changed: Callable[[Baseline], Baseline]) -> None:
    BaselineStore(folder / "baselines").save(changed(read(folder)))


def gate_count(result: pytest.RunResult) -> str:
    (line,) = (line for line in result.outlines if line.startswith("perfsuite: ") and " gates: " in line)
    return line


def test_saving_stores_the_mode_of_every_metric(saved: Saved) -> None:
    modes = read(saved.folder).modes
    assert {modes[metric].label.partition("^")[0] for metric in HOST_METRICS} == {"host"}
    assert [modes[metric].weight for metric in HOST_METRICS] == pytest.approx([1.0] * 3, abs=0.05)
    assert {mode.label for metric, mode in modes.items() if "_device" in metric} == {"raw"}


def test_saving_prints_what_the_baseline_can_gate(saved: Saved) -> None:
    (title,) = (index for index, line in enumerate(saved.lines) if line.startswith("calibration of "))
    assert saved.lines[title].endswith(" on tiny: 8 sessions")
    rows = [line.split() for line in saved.lines[title + 3 : title + 8]]
    assert [row[0] for row in rows] == ["p10-o4"] * 5
    samples, raw_sd, used_sd = rows[0][3:6]
    assert samples.startswith("host^")
    assert float(raw_sd) > 10 * float(used_sd)
    assert "perfsuite: 5 of 5 gates can hold their tolerance" in saved.lines


def test_the_same_code_is_green(run_again: Run) -> None:
    result = run_again("--perf")
    assert result.ret == 0
    assert gate_count(result) == "perfsuite: 5 gates: 5 passed"


def test_without_the_canary_the_same_sessions_decide_nothing_and_tell_no_noise(
    run_again: Run, project: pytest.Pytester
) -> None:
    change(project.path, lambda baseline: replace(baseline, modes={}))
    before = read(project.path)
    result = run_again("--perf", "--perf-update-noise")
    assert gate_count(result) == "perfsuite: 5 gates: 2 passed, 3 inconclusive"
    assert read(project.path) == before


def test_five_percent_are_red_and_named_as_the_hosts(run_again: Run) -> None:
    result = run_again("--perf", "--perf-inject-slowdown=5%")
    assert result.ret == 1
    assert gate_count(result) == "perfsuite: 5 gates: 2 passed, 3 regressed"
    result.stdout.fnmatch_lines(["*: TTFT P50 regressed *: host +4.* %, device *: the host got slower; 3 of 3 *"])


def test_a_host_slower_than_the_baseline_ever_saw_is_void_and_not_red(run_again: Run, project: pytest.Pytester) -> None:
    """The baseline's canary is told to have been twice as fast: every session is void, and three are the last."""

    def twice_as_fast(baseline: Baseline) -> Baseline:
        recordings = (
            replace(recording, canaries=tuple(replace(c, duration_ns=c.duration_ns // 2) for c in recording.canaries))
            for recording in baseline.recordings
        )
        return replace(baseline, recordings=tuple(recordings))

    change(project.path, twice_as_fast)
    result = run_again("--perf")
    assert result.ret == 0
    assert gate_count(result) == "perfsuite: 5 gates: 2 passed, 3 inconclusive"
    result.stdout.fnmatch_lines(
        ["*environment: 3 of 3 sessions void: the host canary left its range beside 3 of 3 blocks*"]
    )


def test_appended_sessions_join_the_stored_ones(run_again: Run, project: pytest.Pytester) -> None:
    result = run_again("--save-baseline", "--perf-baseline-append", "--perf-sessions=4")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["Repeatable/tiny/p10-o4: saved 12 sessions: *", "calibration of *"])
    assert [recording.session for recording in read(project.path).recordings] == list(range(12))


def test_appending_without_saving_is_refused_in_one_line(run: Run) -> None:
    result = run("--perf", "--perf-baseline-append")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert [line for line in result.errlines if line.startswith("ERROR: ")] == [
        "ERROR: --perf-baseline-append: there is nothing to append without --save-baseline"
    ]


def test_sessions_of_another_environment_are_not_appended(
    saved: Saved, run_again: Run, project: pytest.Pytester
) -> None:
    result = run_again("--save-baseline", "--perf-baseline-append", "--perf-sessions=1", "--perf-warmup=3")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*--perf-baseline-append: these sessions do not fit: warm-up: '*"])
    assert (project.path / FILE).read_bytes() == (saved.folder / FILE).read_bytes()


def test_noise_is_learnt_from_sessions_that_passed(saved: Saved, run_again: Run, project: pytest.Pytester) -> None:
    result = run_again("--perf", "--perf-update-noise")
    result.stdout.fnmatch_lines(
        ["--perf-update-noise: the sessions of 1 of 1 cell joined what the baselines know of the noise"]
    )
    before, after = read(saved.folder), read(project.path)
    assert len(after.later) >= 1
    assert replace(after, later=()) == before


def test_nothing_is_learnt_from_sessions_slowed_on_purpose(
    saved: Saved, run_again: Run, project: pytest.Pytester
) -> None:
    result = run_again("--perf", "--perf-update-noise", "--perf-inject-slowdown=0.1%")
    assert gate_count(result) == "perfsuite: 5 gates: 5 passed"
    result.stdout.fnmatch_lines(["--perf-update-noise: the sessions of 0 of 1 cell joined *"])
    assert (project.path / FILE).read_bytes() == (saved.folder / FILE).read_bytes()


def test_noise_that_does_not_fit_is_said_and_fails_no_test(
    saved: Saved, run_again: Run, project: pytest.Pytester
) -> None:
    result = run_again("--perf", "--perf-update-noise", "--perf-warmup=3", "--perf-allow-mismatch=warm-up")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*/p10-o4: --perf-update-noise: *two environments are mixed (warm-up: *"])
    assert (project.path / FILE).read_bytes() == (saved.folder / FILE).read_bytes()
