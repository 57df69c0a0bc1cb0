"""Everything a user can get wrong: one clear line each, and nothing that was measured is lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.plugin.conftest import SMALL, Run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--perf-strategy=trtlm", "--perf-strategy: 'trtlm' is not a strategy; choose from "),
        ("--perf-dtype=float8", "--perf-dtype: 'float8' is not allowed; it must be one of auto, float32"),
        ("--perf-quantization=int4", "--perf-quantization: 'int4' is not allowed; it must be one of int8, fp8"),
        ("--perf-load-format=gguf", "--perf-load-format: 'gguf' is not allowed"),
        ("--perf-device=tpu", "--perf-device: 'tpu' is not allowed; it must be one of auto, cpu, cuda, cuda:N"),
        ("--perf-tolerance=ttft.p50", "--perf-tolerance: 'ttft.p50' has no '='"),
        ("--perf-tolerance=ttft.p50=5", "--perf-tolerance (ttft.p50): '5' is not a percentage above zero"),
        ("--perf-tolerance=ttft.p42=5%", "--perf-tolerance: 'ttft.p42' is not a metric"),
        ("--perf-tolerance=ttft.p50=150%", "--perf-tolerance (ttft.p50): '150%' is not allowed"),
        ("--perf-allow-mismatch=tork", "--perf-allow-mismatch: 'tork' is not a key; choose from device, model"),
        ("--perf-tolerance=speed.p50=5%", "--perf-tolerance: 'speed.p50' is not a metric"),
        ("--perf-tolerance=speed=5%", "for example 'ttft.p50', or memory, energy, throughput"),
        ("--perf-prompt-lengths=10,ten", "--perf-prompt-lengths: '10,ten' is not a list of lengths"),
        ("--perf-prompt-lengths=10,10", "--perf-prompt-lengths: '10,10' names a length twice"),
        ("--perf-output-tokens=0", "--perf-output-tokens: 0 is not allowed; it must be 1 or above"),
        ("--perf-batch-size=two", "--perf-batch-size: 'two' is not a whole number"),
        ("--perf-temperature=-1", "--perf-temperature: -1.0 is not allowed; it must be 0 (greedy) or above"),
        ("--perf-top-p=0", "--perf-top-p: 0.0 is not allowed; it must be above 0 and at most 1 (off)"),
        ("--perf-repetition-penalty=nan", "--perf-repetition-penalty: nan is not allowed"),
        ("--perf-budget=10", "--perf-budget: '10' is not a duration"),
        ("--perf-inject-slowdown=10", "--perf-inject-slowdown: '10' is not a percentage"),
        ("--perf-inconclusive-exit=2", "--perf-inconclusive-exit: 2 is not allowed; it must be 6 to 255, or 0 for no "),
        ("--perf-inconclusive-exit=256", "--perf-inconclusive-exit: 256 is not allowed; it must be 6 to 255, or 0"),
        ("--perf-inconclusive-exit=-1", "--perf-inconclusive-exit: -1 is not allowed; it must be 0 or above"),
        ("--perf-inconclusive-exit=maybe", "--perf-inconclusive-exit: 'maybe' is not a whole number"),
        ("--perf-model=,", "--perf-model: ',' names nothing"),
        ("--perf-json=.", "is a folder; name a file"),
    ],
)
def test_an_option_that_cannot_be_used_is_one_line_before_anything_runs(run: Run, argument: str, words: str) -> None:
    result = run("--perf", argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in result.errlines if line.startswith("ERROR: ")]
    assert len(errors) == 1
    assert words in errors[0]


def test_sessions_side_by_side_are_refused_in_one_line(run: Run) -> None:
    result = run("--perf", "-p", "xdist", "-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (error,) = [line for line in result.errlines if line.startswith("ERROR: ")]
    assert "leave out -n (pytest-xdist)" in error


def test_a_prompt_longer_than_the_models_positions_is_refused_at_collection(run: Run) -> None:
    result = run("--perf", "--perf-strategy=eager", "--perf-prompt-lengths=4000")
    result.stdout.fnmatch_lines(["model 'tiny': 4000 prompt and 4 output tokens take 4004 positions*"])
    assert "Traceback" not in str(result.stdout)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("prompt_length=3", "@pytest.mark.perf: 'prompt_length' is not an argument; use strategy, model"),
        ("strategy='eagr'", "@pytest.mark.perf: 'eagr' is not a strategy; choose from "),
        ("prompt_tokens='64'", "prompt_tokens: '64' is not allowed; it must be a whole number, 1 or above"),
        ("prompt_tokens=[]", "@pytest.mark.perf: prompt_tokens is empty"),
        ("output_tokens=2.5", "output_tokens: 2.5 is not allowed; it must be a whole number, 1 or above"),
        ("tolerance='fast'", "@pytest.mark.perf: 'fast' has no '='"),
        ("sampling='greedy'", "@pytest.mark.perf: sampling must be a SamplingParams, found 'greedy'"),
        ("model=None", "@pytest.mark.perf: model must be a name or a ModelSpec, found None"),
        ("strategy=5", "@pytest.mark.perf: strategy must be a name or a class, found 5"),
        ("prompt_tokens=[64, 64]", "@pytest.mark.perf: prompt_tokens names something twice: 64, 64"),
    ],
)
def test_a_marker_that_cannot_be_used_is_one_line(
    run: Run, project: pytest.Pytester, argument: str, words: str
) -> None:
    project.makepyfile(test_speed=f"import pytest\n@pytest.mark.perf({argument})\ndef test_one(perf_recording): pass")
    result = run("--perf")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert any(line.startswith(words) for line in result.outlines)
    assert "Traceback" not in str(result.stdout)


def test_a_metric_that_does_not_exist_fails_the_test_in_one_line(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(test_speed="def test_one(perf_judgement): perf_judgement.require('ttft.p42')")
    result = run("--perf")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["test: 'ttft.p42' is not a metric*"])


def test_a_test_that_requires_nothing_or_no_name_fails_in_one_line(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(
        test_speed="""
        def test_one(perf_judgement): perf_judgement.require()
        def test_two(perf_judgement): perf_judgement.require(5)
        def test_three(perf_compare): perf_compare.require("p50", than="fake", at_least=1.1)
        """
    )
    result = run("--perf", "--perf-prompt-lengths=10")
    result.assert_outcomes(failed=3)
    for words in (
        "names no metric; write",
        "test: 5 is not the name of a metric",
        "perf_compare: 'p50' is not a metric",
    ):
        assert sum(words in line and "FAILED" not in line for line in result.outlines) == 1
    assert "During handling" not in str(result.stdout)


def test_an_unknown_model_is_one_line(run: Run) -> None:
    result = run("--perf", "--perf-strategy=eager", "--perf-model=./nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "Traceback" not in str(result.stderr) + str(result.stdout)
    assert "nowhere" in result.errlines[-1] + "".join(result.errlines)


def test_cuda_asked_for_and_absent_is_one_line(run: Run) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    result = run("--perf", "--perf-strategy=eager", "--perf-device=cuda")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert any(line.startswith("ERROR: --perf-device: 'cuda'") for line in result.errlines)


@pytest.mark.parametrize("folder", ["/proc/baselines", "occupied/baselines"])
def test_a_baseline_folder_that_cannot_be_written_is_found_before_measuring(
    run: Run, project: pytest.Pytester, folder: str
) -> None:
    (project.path / "occupied").write_text("a file")
    result = run("--save-baseline", f"--perf-baseline-dir={folder}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert any("no baseline can be saved here" in line for line in result.errlines)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[: len(text) // 2], "the file ends too early"),
        (lambda text: text.replace('"schema": 5', '"schema": 9', 1), "schema 9; this perfsuite reads 1, 2, 3, 4 and 5"),
        (lambda text: text.replace("[4", "[5", 1), "was edited by hand or damaged"),
        (lambda text: "no json", "not JSON"),
    ],
)
def test_a_damaged_baseline_fails_the_gate_in_one_line(
    run: Run, project: pytest.Pytester, damage: object, words: str
) -> None:
    assert callable(damage)
    run("--save-baseline")
    path = project.path / "baselines/scripted/tiny/fake/p10-o4.json"
    path.write_text(damage(path.read_text()))
    result = run("--perf", "-k", "p10-o4")
    assert result.ret == 1
    result.stdout.fnmatch_lines([f"*invalid*{words}*"])
    assert "Traceback" not in str(result.stdout)


def test_a_damaged_baseline_is_repaired_by_recording_it_again(run: Run, project: pytest.Pytester) -> None:
    run("--save-baseline")
    (project.path / "baselines/scripted/tiny/fake/p10-o4.json").write_text("no json")
    run("--save-baseline").assert_outcomes(passed=8)
    assert run("--perf", "--perf-tolerance=ttft.p99=off").ret == 0


def test_a_folder_of_one_cell_that_cannot_be_written_is_found_before_measuring(
    run: Run, project: pytest.Pytester
) -> None:
    (project.path / "baselines/scripted/tiny").mkdir(parents=True)
    (project.path / "baselines/scripted/tiny/fake").write_text("a file in the way")
    result = run("--save-baseline")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "session 1" not in str(result.stdout)


def test_a_full_disk_while_saving_keeps_the_old_baseline_and_the_sessions(run: Run, project: pytest.Pytester) -> None:
    run("--save-baseline")
    before = (project.path / "baselines/scripted/tiny/fake/p10-o4.json").read_bytes()
    project.makeconftest(
        """
        import errno
        from pathlib import Path
        from perfsuite import store

        def full(path: Path, text: str) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        store.write_whole = full
        """
    )
    result = run("--save-baseline")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*cannot be saved (No space left on device)*the sessions are kept*"])
    assert (project.path / "baselines/scripted/tiny/fake/p10-o4.json").read_bytes() == before
    (project.path / "conftest.py").unlink()
    resumed = run("--save-baseline", "--perf-resume")
    resumed.assert_outcomes(passed=8)
    assert "session 1" not in str(resumed.stdout)


def test_a_disk_that_is_full_after_measuring_changes_no_verdict(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        import errno
        from perfsuite import runs
        from perfsuite.core.errors import BaselineError

        def full(self, recordings=None):
            raise BaselineError("the run cannot be written (No space left on device)")

        runs.Run.add = runs.Run.finish = full
        """
    )
    result = run("--perf")
    result.stdout.fnmatch_lines(["perfsuite: 12 gates: 12 no baseline", "*this session is kept in memory only"])
    result.assert_outcomes(skipped=8)


def test_a_killed_worker_costs_its_own_cell_only(run: Run) -> None:
    result = run("--perf", "--perf-strategy=tests.scripted:DiesAt20", "-rs", "--perf-samples=4")
    result.assert_outcomes(failed=4, skipped=4)
    result.stdout.fnmatch_lines(["*DiesAt20/tiny/p20-o4*invalid*killed by SIGKILL*"])
    result.stdout.fnmatch_lines(["*DiesAt20/tiny/p10-o4: no baseline*"])


def test_a_value_that_cannot_be_stored_costs_its_own_strategy_only(run: Run) -> None:
    result = run("--perf", "--perf-strategy=fake,tests.scripted:NumbersPhases", "-rs", "--perf-samples=4")
    result.assert_outcomes(failed=8, skipped=8)
    result.stdout.fnmatch_lines(["*NumbersPhases/tiny/p20-o4*invalid*the strategy gave what cannot be stored*5*"])
    result.stdout.fnmatch_lines(["*fake/tiny/p20-o4: no baseline*"])


def test_a_report_replaces_no_pipe(run: Run, project: pytest.Pytester) -> None:
    os.mkfifo(project.path / "pipe")
    result = run("--perf", "--perf-json=pipe")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--perf-json: *pipe is a device or a pipe, which would be replaced; name a file*"])


def test_a_hanging_worker_costs_its_own_cell_only(run: Run) -> None:
    result = run("--perf", "--perf-strategy=tests.scripted:HangsAt20", "--perf-timeout=5s", "--perf-samples=4")
    result.assert_outcomes(failed=4, skipped=4)
    result.stdout.fnmatch_lines(["*HangsAt20/tiny/p20-o4*said nothing for*"])


def test_a_request_that_raises_makes_its_cell_invalid(run: Run) -> None:
    result = run("--perf", "--perf-strategy=tests.scripted:RaisesAt20", "--perf-samples=4")
    result.assert_outcomes(failed=4, skipped=4)
    result.stdout.fnmatch_lines(["*RaisesAt20/tiny/p20-o4*KeyError: 'no kernel for this shape'*"])


FAULT = "CUDA error: an illegal memory access was encountered"
THREE = ("--perf-prompt-lengths=10,20,30", "--perf-samples=40")


def test_a_lost_device_costs_its_own_cell_and_the_others_are_measured_in_a_fresh_process(run: Run) -> None:
    result = run("--perf", "--perf-strategy=tests.scripted:LosesDevice", *THREE)
    result.assert_outcomes(failed=4, skipped=8)
    result.stdout.fnmatch_lines([f"*LosesDevice/tiny/p20-o4*invalid*the process lost its device: {FAULT}*"])
    result.stdout.fnmatch_lines(["*LosesDevice/tiny/p10-o4: no baseline*", "*LosesDevice/tiny/p30-o4: no baseline*"])
    result.stdout.fnmatch_lines(["perf LosesDevice/tiny session 1, 3 cells: ended, as the device was lost, in *"])
    result.stdout.fnmatch_lines(["perf LosesDevice/tiny session 1, 2 cells: done in *"])
    notes = [line for line in result.outlines if "lost the device" in line]
    assert len(notes) == 1
    assert "what was not finished by then was measured in a fresh process" in notes[0]


def test_a_device_that_is_lost_again_ends_its_strategy_and_the_others_are_measured(
    run: Run, project: pytest.Pytester
) -> None:
    both = "--perf-strategy=tests.scripted:LosesDeviceAtOnce,fake"
    result = run("--perf", both, *THREE, "--perf-json=out.json")
    result.assert_outcomes(failed=12, skipped=12)
    result.stdout.fnmatch_lines(["*LosesDeviceAtOnce/tiny/p30-o4*not run: the process lost its device at *p20-o4*"])
    assert sum("LosesDeviceAtOnce/tiny session 1" in line for line in result.outlines) == 2
    notes = [line for line in result.outlines if "lost the device" in line]
    assert len(notes) == 1
    assert "2 sessions lost the device" in notes[0]
    assert "cells that were not finished by then and are not run: 1" in notes[0]


def test_a_device_that_cannot_be_opened_again_keeps_what_was_measured_before(run: Run) -> None:
    result = run("--perf", "--perf-strategy=tests.scripted:LosesDeviceForGood", *THREE, "--perf-warmup=2")
    result.assert_outcomes(failed=12)
    cut = f"*LosesDeviceForGood/tiny/p10-o4*not run to its end: the process lost its device at *p20-o4: {FAULT}*"
    result.stdout.fnmatch_lines([cut])
    result.stdout.fnmatch_lines(["LosesDeviceForGood/tiny/p10-o4: the fresh process failed as well: *no device"])
    assert any(line.split()[:1] == ["10"] and " 20 " in line for line in result.outlines)  # a block of 20 was taken


def test_a_device_that_is_lost_beside_the_cells_keeps_what_was_measured(run: Run) -> None:
    result = run("--perf", "--perf-strategy=tests.scripted:LosesDeviceBeside", *THREE)
    result.stdout.fnmatch_lines([f"*LosesDeviceBeside/tiny/p30-o4*the process lost its device: {FAULT}*"])
    assert "Traceback" not in str(result.stdout)


def test_a_device_that_is_lost_while_opening_fails_its_cells_and_the_others_are_measured(run: Run) -> None:
    result = run("--perf", "--perf-strategy=tests.scripted:LosesDeviceAtOpen,fake")
    result.assert_outcomes(failed=8, skipped=8)
    result.stdout.fnmatch_lines(["*LosesDeviceAtOpen/tiny/p10-o4*CUDA error: device-side assert triggered*"])


def test_a_model_for_which_there_is_no_room_fails_its_cells_and_the_others_are_measured(run: Run) -> None:
    result = run("--perf", "--perf-strategy=tests.scripted:WithoutRoom,fake")
    result.assert_outcomes(failed=8, skipped=8)
    result.stdout.fnmatch_lines(["*WithoutRoom/tiny/p10-o4*invalid*the weights take 12.6 GiB, 3.1 GiB were free*"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--perf-strategy=fake", "--perf-tensor-parallel=2"), "strategy 'fake' cannot split a model over GPUs"),
        (("--perf-strategy=eager", "--perf-tensor-parallel=5"), "has 4 attention heads, which 5 ranks do not divide"),
    ],
)
def test_a_model_that_cannot_be_split_is_one_line(run: Run, arguments: tuple[str, ...], words: str) -> None:
    result = run("--perf", "--perf-device=cpu", *arguments)
    assert result.ret == 1
    assert words in str(result.stdout)
    assert "Traceback" not in str(result.stdout) + str(result.stderr)


def test_a_strategy_that_was_named_and_cannot_run_fails(run: Run) -> None:
    result = run("--perf", "--perf-strategy=tests.scripted:Unavailable")
    result.assert_outcomes(failed=8)
    result.stdout.fnmatch_lines(["*pip install engine*"])


def test_sessions_of_other_code_are_not_resumed(project: pytest.Pytester, run: Run) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=project.path, check=True, capture_output=True)

    process = start_hanging_run(project)
    wait_for_first_session(project.path)
    process.kill()
    process.communicate(timeout=60)
    git("init")
    git("add", "test_speed.py")
    git("commit", "-m", "the code that was measured is not this")
    environment = {**os.environ, "HANG": "no"}
    command = [*hanging_command(), "--perf-resume"]
    resumed = subprocess.run(
        command, cwd=project.path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "--perf-resume: there is no interrupted run of these cells" in resumed.stdout


def test_an_interrupted_run_reports_what_is_finished_and_can_be_resumed(project: pytest.Pytester, run: Run) -> None:
    project.makepyfile(test_speed=TWO_STRATEGIES)
    run("--save-baseline", "--perf-sessions=5", "-k", "Quick")
    process = start_hanging_run(project)
    wait_for_first_session(project.path)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "interrupted: every finished session is kept; go on with: pytest" in output
    assert "TTFT, ms" in output
    assert "Quick/tiny/p10-o4: passed TTFT P50" in output


def test_a_killed_run_is_resumed_from_its_finished_sessions(project: pytest.Pytester, run: Run) -> None:
    process = start_hanging_run(project)
    wait_for_first_session(project.path)
    process.kill()
    process.communicate(timeout=60)
    environment = {**os.environ, "HANG": "no"}
    command = [*hanging_command(), "--perf-resume"]
    resumed = subprocess.run(
        command, cwd=project.path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "--perf-resume: went on with 1 recordings" in resumed.stdout
    assert "perf Quick/tiny" not in resumed.stdout
    assert "perf Slow/tiny session 1, 1 cell: done" in resumed.stdout


TWO_STRATEGIES = """
import os, time
import pytest
from perfsuite.strategies.fake import FakeStrategy
from tests.scripted import Scripted

class Quick(FakeStrategy): pass

class Slow(Scripted):
    def stream(self, request):
        if os.environ.get("HANG") == "yes":
            time.sleep(60)
        return super().stream(request)

@pytest.mark.perf(strategy=[Quick, Slow], prompt_tokens=10)
def test_both(perf_judgement): pass
"""


def hanging_command() -> list[str]:
    return [sys.executable, "-m", "pytest", "-p", "perfsuite.plugin", *SMALL, "--perf", "--perf-interleave=off"]


def start_hanging_run(project: pytest.Pytester) -> "subprocess.Popen[str]":
    project.makepyfile(test_speed=TWO_STRATEGIES)
    return subprocess.Popen(
        hanging_command(),
        cwd=project.path,
        env={**os.environ, "HANG": "yes"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_hear_interrupts,  # noqa: PLW1509 - one call, and no thread of ours is running
    )


def _hear_interrupts() -> None:
    """A shell starts its background jobs deaf to Ctrl-C, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for_first_session(root: Path) -> None:
    for _ in range(300):
        going = [path.parent for path in root.glob(".perfsuite/runs/*/session-1.json")]
        if any(not (folder / "finished").exists() for folder in going):
            time.sleep(0.5)  # the second session is now hanging
            return
        time.sleep(0.1)
    pytest.fail("the first session never ended")
