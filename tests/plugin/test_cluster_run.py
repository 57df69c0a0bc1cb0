"""Sessions on the nodes of a real Ray cluster on this machine, through the command line."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.fleet.ray_cluster import Nodes, cluster, free_port
from tests.fleet.strategies import FOLDER, LOG
from tests.plugin.conftest import SMALL, Run

STEADY, OTHER = "tests.fleet.strategies:Steady", "tests.fleet.strategies:Other"
PATIENT, IMPATIENT = "tests.fleet.strategies:Patient", "tests.fleet.strategies:Impatient"


Start = Callable[..., AbstractContextManager[Nodes]]


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch, project: pytest.Pytester) -> Start:
    """A way to start a cluster whose nodes know the project's folder."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv(FOLDER, str(project.path))
    return cluster


@pytest.fixture
def two(started: Start) -> Iterator[Nodes]:
    """Nodes 'left' and 'right'."""
    with started("left", "right") as nodes:
        yield nodes


def made_on(project: pytest.Pytester) -> dict[str, list[str]]:
    """The nodes that made the sessions of each cell, in order."""
    told = json.loads((project.path / "out.json").read_text())
    return {
        cell["id"]: [recording["environment"]["noted"].get("node") for recording in cell["recordings"]]
        for cell in told["cells"]
    }


def test_sessions_are_made_on_both_nodes_of_a_cluster_and_say_on_which(
    run: Run, project: pytest.Pytester, two: Nodes
) -> None:
    result = run(
        "--save-baseline",
        f"--perf-cluster={two.client}",
        f"--perf-strategy={STEADY},{OTHER}",
        "--perf-sessions=3",
        "--perf-json=out.json",
    )
    result.assert_outcomes(passed=16)
    found = made_on(project)
    assert {len(nodes) for nodes in found.values()} == {3}
    assert {node for nodes in found.values() for node in nodes} == {"left", "right"}
    result.stdout.fnmatch_lines(
        ["cluster: * on left, right; sessions at once: 2, each asks for CPU: 2; a session has its node for itself"]
    )
    assert len(list(project.path.glob("baselines/*/tiny/Steady/*.json"))) == 2


def errors(result: pytest.RunResult) -> list[str]:
    return [line for line in result.errlines if line.startswith("ERROR: ")]


def start(project: pytest.Pytester, address: str, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pytest", "-p", "perfsuite.plugin", *SMALL, "--perf", f"--perf-cluster={address}"]
    return subprocess.Popen(
        [*command, "--perf-json=out.json", *arguments],
        cwd=project.path,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - as in test_bad_input
    )


def wait_for(process: "subprocess.Popen[str]", holds: Callable[[], bool]) -> None:
    """Until it holds; a run that has ended before says what it said."""
    for _ in range(900):
        if holds():
            return
        if process.poll() is not None:
            pytest.fail(f"the run has ended: {process.communicate()[0]}")
        time.sleep(0.1)
    pytest.fail("it never came to that")


def begun(project: pytest.Pytester) -> list[int]:
    """The processes of the Patient sessions that have begun."""
    log = project.path / LOG
    return [int(line.split()[0]) for line in log.read_text().splitlines()] if log.exists() else []


def alive(project: pytest.Pytester) -> list[int]:
    """Those of them that are still there."""
    return [pid for pid in begun(project) if Path(f"/proc/{pid}").exists()]


@pytest.mark.slow
def test_a_session_whose_node_vanishes_is_made_on_another(project: pytest.Pytester, two: Nodes) -> None:
    process = start(project, two.address, f"--perf-strategy={PATIENT}")
    wait_for(process, lambda: len(begun(project)) == 2)
    two.kill("right")
    wait_for(process, lambda: len(alive(project)) == 1)
    (project.path / "go").touch()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert made_on(project) == {"Patient/tiny/p10-o4": ["left"], "Patient/tiny/p20-o4": ["left"]}
    (note,) = {line for line in output.splitlines() if "was lost under" in line}
    assert note.startswith("node right was lost under Patient/tiny/p")
    assert note.endswith("its session was given to another")
    assert len(begun(project)) == 3
    assert alive(project) == []


@pytest.mark.slow
def test_when_the_last_node_vanishes_its_cells_fail_and_what_was_finished_is_kept(
    project: pytest.Pytester, started: Start
) -> None:
    with started("only") as nodes:
        process = start(project, nodes.client, f"--perf-strategy={IMPATIENT},{PATIENT}")
        wait_for(process, lambda: len(begun(project)) == 1)
        nodes.kill("only")
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert made_on(project)["Impatient/tiny/p10-o4"] == ["only"]
    assert "node only was lost under Patient/tiny/p10-o4" in output
    assert "and no other node is left for it" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_nodes_of_other_versions_are_one_line_that_names_the_node_and_the_difference(
    run: Run, tmp_path: Path, started: Start
) -> None:
    other = tmp_path / "numpy-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.0\n")
    with started("left") as nodes:
        nodes.add("right", PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
        result = run("--perf", f"--perf-cluster={nodes.address}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (error,) = errors(result)
    assert "--perf-cluster: node " in error
    assert "differ in numpy: " in error
    assert "'1.0'" in error


@pytest.mark.slow
def test_ctrl_c_leaves_no_session_on_any_node(project: pytest.Pytester, two: Nodes) -> None:
    process = start(project, two.client, f"--perf-strategy={PATIENT}")
    wait_for(process, lambda: len(begun(project)) == 2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    for _ in range(300):
        if not alive(project):
            return
        time.sleep(0.1)
    pytest.fail(f"still there: {alive(project)}")


@pytest.mark.slow
def test_a_worker_that_dies_on_a_node_costs_its_own_cell(run: Run, project: pytest.Pytester, two: Nodes) -> None:
    own = f"--perf-strategy=tests.scripted:DiesAt20,{STEADY}"
    result = run("--perf", f"--perf-cluster={two.address}", own, "--perf-json=out.json")
    result.assert_outcomes(failed=4, skipped=12)
    result.stdout.fnmatch_lines(["*DiesAt20/tiny/p20-o4*killed by SIGKILL*"])
    assert all(nodes[0] in ("left", "right") for nodes in made_on(project).values())


@pytest.mark.slow
def test_a_cluster_without_gpus_has_none_to_measure_on(run: Run, two: Nodes) -> None:
    result = run("--perf", f"--perf-cluster={two.address}", "--perf-device=cuda")
    (error,) = errors(result)
    assert "--perf-cluster: no node offers 1 GPU to Ray; there is node " in error


def test_without_ray_one_line_says_how_to_install_it(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest("import sys\nsys.modules['ray'] = None")
    result = run("--perf", "--perf-cluster=ray://127.0.0.1:10001")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert errors(result) == [
        "ERROR: --perf-cluster: needs the package 'ray'; install it with: pip install 'perfsuite[ray]'"
    ]


def test_a_cluster_that_is_not_there_is_one_line(run: Run) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs the package 'ray'")
    result = run("--perf", f"--perf-cluster=127.0.0.1:{free_port()}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (error,) = errors(result)
    assert "--perf-cluster: nobody listens at '127.0.0.1:" in error


def test_a_cluster_and_what_has_the_machine_for_itself_do_not_go_together(run: Run) -> None:
    result = run("--perf", "--perf-cluster=ray://127.0.0.1:10001", "--perf-selftest")
    (error,) = errors(result)
    assert error.startswith("ERROR: --perf-cluster: not together with --perf-selftest")
