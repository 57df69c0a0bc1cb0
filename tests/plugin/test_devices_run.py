"""Sessions dealt to several places, through the command line: groups of cores stand for devices."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perfsuite.fleet import cores
from perfsuite.fleet.isolation import TRUSTED
from tests.fleet.strategies import LOG
from tests.plugin.conftest import SMALL, Run

pytestmark = pytest.mark.skipif(len(cores.allowed()) < 2, reason="two groups of cores need two cores")

TWO = "--perf-devices=cpu:0,cpu:1"
STEADY, OTHER = "tests.fleet.strategies:Steady", "tests.fleet.strategies:Other"


def report(project: pytest.Pytester) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.path / "out.json").read_text())
    return found


def cells(project: pytest.Pytester) -> Iterator[dict[str, Any]]:
    yield from report(project)["cells"]


def places(project: pytest.Pytester) -> list[list[str]]:
    """Where the sessions of each cell were made, in order."""
    return [[recording["environment"]["noted"]["place"] for recording in cell["recordings"]] for cell in cells(project)]


def test_the_sessions_of_a_baseline_are_dealt_to_every_device_and_each_recording_says_to_which(
    run: Run, project: pytest.Pytester
) -> None:
    result = run(
        "--save-baseline",
        f"--perf-strategy={STEADY}",
        TWO,
        "--perf-neighbours=trust",
        "--perf-sessions=6",
        "--perf-json=out.json",
    )
    result.assert_outcomes(passed=8)
    assert all(len(own) == 6 and set(own) == {"cpu:0", "cpu:1"} for own in places(project))
    assert [[each["session"] for each in cell["recordings"]] for cell in cells(project)] == [list(range(6))] * 2
    result.stdout.fnmatch_lines(["perf Steady/tiny session *, 2 cells on cpu:1: done in *", TRUSTED])


@pytest.mark.slow
def test_verdicts_are_those_of_a_run_on_one_place(run: Run, project: pytest.Pytester) -> None:
    own = (f"--perf-strategy={STEADY},{OTHER}", "--perf-tolerance=ttft.p99=off", "--perf-json=out.json")
    run("--save-baseline", *own, "--perf-sessions=5")
    for status, slowdown in ((0, ()), (1, ("--perf-inject-slowdown=30%",))):
        told = []
        for devices in ((), (TWO, "--perf-neighbours=trust")):
            assert run("--perf", *own, *slowdown, *devices).ret == status
            told.append([(cell["id"], cell["verdicts"]) for cell in cells(project)])
        assert told[0] == told[1]
        assert {place for cell in places(project) for place in cell} == {"cpu:0", "cpu:1"}


def test_one_strategy_has_its_cells_shared_out_when_it_is_judged(run: Run, project: pytest.Pytester) -> None:
    run("--perf", f"--perf-strategy={STEADY}", TWO, "--perf-neighbours=trust", "--perf-json=out.json")
    assert sorted(places(project)) == [["cpu:0"], ["cpu:1"]]


def opened(project: pytest.Pytester) -> list[str]:
    """'begins' and 'ends' of the sessions, in the order in which they happened."""
    return [line.split()[1] for line in (project.path / LOG).read_text().splitlines()]


@pytest.mark.slow
def test_what_neighbours_disturb_runs_alone_and_the_run_says_why(run: Run, project: pytest.Pytester) -> None:
    jostled = "tests.fleet.strategies:Jostled"
    result = run("--perf", f"--perf-strategy={jostled},{STEADY}", TWO, "--perf-json=out.json")
    result.stdout.fnmatch_lines(
        ["neighbours: Jostled/tiny runs alone: beside 1 busy: TTFT +* % (*, 1.25 % are allowed)*"]
    )
    result.stdout.fnmatch_lines(["neighbours: Steady/tiny may share the host: beside 1 busy: *"])
    found = dict(zip((cell["id"] for cell in cells(project)), places(project), strict=True))
    assert {place for cell, own in found.items() if cell.startswith("Jostled") for place in own} == {"cpu:0"}
    assert {place for cell, own in found.items() if cell.startswith("Steady") for place in own} == {"cpu:0", "cpu:1"}
    assert opened(project)[-2:] == ["begins", "ends"]
    result.stdout.fnmatch_lines(["perf Jostled/tiny session 1, 2 cells on cpu:0: done in *"])


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_own_cell_and_the_others_go_on(run: Run) -> None:
    result = run("--perf", f"--perf-strategy=tests.scripted:DiesAt20,{STEADY}", TWO, "--perf-neighbours=trust")
    result.assert_outcomes(failed=4, skipped=12)
    result.stdout.fnmatch_lines(["*DiesAt20/tiny/p20-o4*killed by SIGKILL*"])


def test_ctrl_c_ends_every_session_and_keeps_what_was_finished(run: Run, project: pytest.Pytester) -> None:
    hanging = "tests.fleet.strategies:Hangs"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "perfsuite.plugin",
        *SMALL,
        "--perf",
        TWO,
        "--perf-neighbours=trust",
    ]
    command += [f"--perf-strategy={STEADY},{OTHER},{hanging}"]
    process = subprocess.Popen(
        command,
        cwd=project.path,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - as in test_bad_input
    )
    wait_for(
        lambda: "hangs" in read(project.path / LOG) and len(list(project.path.glob(".perfsuite/runs/*/session-2.json")))
    )
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "interrupted: every finished session is kept; go on with: pytest" in output
    assert "Steady" in output
    pid = int(read(project.path / LOG).split()[0])
    assert not Path(f"/proc/{pid}").exists()


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def wait_for(holds: Any) -> None:
    for _ in range(600):
        if holds():
            return
        time.sleep(0.1)
    pytest.fail("it never came to that")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--perf-devices=cpu:0,cpu:0",), "--perf-devices: 'cpu:0,cpu:0' names a device twice"),
        (("--perf-devices=tpu",), "--perf-devices: 'tpu' is not a list of devices; write GPUs ('0,1'), 'all', or "),
        ((TWO, "--perf-arms=fake,eager"), "--perf-devices: not together with --perf-arms"),
        ((TWO, "--perf-selftest"), "--perf-devices: not together with --perf-selftest"),
        ((TWO, "--perf-interleave=on"), "--perf-devices: not together with --perf-interleave on"),
        ((TWO, "--perf-device=cuda"), "--perf-device: 'cuda' is none of what --perf-devices names; leave it out"),
        ((TWO, "--perf-neighbours=no"), "--perf-neighbours: 'no' is not allowed; it must be one of auto, again, trust"),
    ],
)
def test_devices_that_cannot_be_used_are_one_line_before_anything_runs(
    run: Run, arguments: tuple[str, ...], words: str
) -> None:
    result = run("--perf", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in result.errlines if line.startswith("ERROR: ")]
    assert len(errors) == 1
    assert words in errors[0]
