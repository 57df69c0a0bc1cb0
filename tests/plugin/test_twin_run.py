"""Old and new code in turns, end to end, on scripted latencies: what is red is red whatever the host does."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perfsuite.strategies.fake import SCRIPT_VARIABLE
from tests.plugin.twin_project import FLAGS, QUIET, TwinProject, model, said
from tests.wheels import make_wheel

pytestmark = pytest.mark.slow


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> TwinProject:
    return TwinProject(pytester, monkeypatch)


def test_a_slower_working_tree_is_red_against_a_revision_and_nothing_is_left_behind(
    project: TwinProject, pytester: pytest.Pytester
) -> None:
    project.commit("fast", model())
    project.repository.git("tag", "good")
    project.commit("slow", model(1.08))
    project.repository.write(notes_md="not committed\n")
    result = project.run("--perf-against=good", "--perf-json=report.json")
    text = said(result)
    assert result.ret == 1
    result.stdout.re_match_lines(
        [
            r"perfsuite: model\.py:Model on tiny, in turns with good \(.{7}\)",
            r"old: good \(.{7}\), new: the working tree, in turns; .*",
            r"Model/tiny/p10-o2 +TTFT P50 +4\.\d+ +4\.\d+ +1\.0\d\d \(1\.\d+\.\.1\.\d+\) .* 60 +3 \+ 3  blocks",
            r"Model/tiny/p10-o2: TTFT P50 regressed 4\.\d+ ms -> 4\.\d+ ms \(\+\d\.\d %, .* in turns\), tolerance 5.*",
        ]
    )
    assert "the working tree has changes that are not committed: they are measured" in text
    assert "names no requirements: both arms run in this environment" in text
    assert "--save-baseline" not in text
    assert project.left_behind() == []
    (cell,) = json.loads((pytester.path / "report.json").read_text())["cells"]
    assert cell["twin"]["ttft.p50"]["pairs"] == 60
    assert cell["twin"]["ttft.p50"]["turns"] == "blocks"
    (folder,) = (pytester.path / ".perfsuite" / "runs").iterdir()
    assert len(list(folder.glob("pair-*.json"))) == 6


def test_the_same_code_is_green_and_named_so(project: TwinProject) -> None:
    project.commit("fast", model())
    result = project.run("--perf-against=HEAD")
    result.assert_outcomes(passed=1)
    assert "is the same code as the working tree: this is an A/A run" in said(result)


def test_a_folder_is_an_arm_too(project: TwinProject, pytester: pytest.Pytester) -> None:
    project.commit("slow", model(1.08))
    (pytester.path / "old").mkdir()
    (pytester.path / "old" / "model.py").write_text(model(1.0))
    result = project.run("--perf-against=old")
    assert result.ret == 1
    assert "old: old, new: the working tree" in said(result)


def test_a_dependency_is_compared_with_its_old_version(
    project: TwinProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The working tree runs with what is installed, which has no `kernels`; laid over it, 2.0 halves the times."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    make_wheel(tmp_path / "wheels", "kernels", "2.0", "TIMES = 0.5\n")
    before = "try:\n    from kernels import TIMES as FACTOR\nexcept ImportError:\n    FACTOR = 1.0"
    project.commit("one", model(1.0, before=before).replace("TIMES = 1.0", "TIMES = FACTOR"))
    result = project.run("--perf-against=kernels==2.0")
    assert result.ret == 1
    text = said(result)
    assert "--perf-against: building an environment in" in text
    assert "old: kernels==2.0, new: the working tree" in text
    assert re.search(r"regressed 2\.0\d ms -> 4\.\d\d ms", text)


def test_two_option_sets_are_compared_and_gate_nothing(project: TwinProject) -> None:
    project.commit("one", model())
    slower = json.dumps({**QUIET, "prefill_ns": 8_000_000})
    result = project.run(f"--perf-arms=model.py:Model,model.py:Model {SCRIPT_VARIABLE}='{slower}'", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.re_match_lines(
        [r"Model/tiny/p10-o2 +TTFT P50 +4\.\d\d +8\.\d\d +1\.9\d\d \(1\.9\d\d\.\.1\.9\d\d\).*"]
    )
    assert result.ret == 0


def test_what_a_stored_baseline_calls_regressed_is_confirmed_in_turns(
    project: TwinProject, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine got slower by a quarter, and the code did not: the stored baseline cannot tell, the twin can."""
    project.commit("one", model())
    saved = pytester.runpytest_subprocess("--save-baseline", *FLAGS, "--perf-sessions=5")
    assert saved.ret == 0
    monkeypatch.setenv(SCRIPT_VARIABLE, json.dumps({**QUIET, "prefill_ns": 5_000_000, "prompt_token_ns": 6_250}))
    assert project.run().ret == 1
    result = project.run("--perf-confirm-against=HEAD")
    result.assert_outcomes(passed=1)
    assert "in turns" in said(result)
    slower = project.run("--perf-confirm-against=HEAD", "--perf-inject-slowdown=20%")
    assert slower.ret == 1
    assert "the stored baseline called it regressed" in said(slower)


def test_bisect_names_the_planted_commit_among_sixteen_and_skips_one_that_does_not_run(
    project: TwinProject, pytester: pytest.Pytester
) -> None:
    commits = [project.commit("good", model())]
    for number in range(1, 17):
        broken = "raise RuntimeError('half done')" if number == 8 else ""
        commits.append(project.commit(f"change {number}", model(1.08 if number >= 11 else 1.0, before=broken)))
    head = pytester.run("git", "rev-parse", "--abbrev-ref", "HEAD").outlines
    result = project.run(f"--perf-against={commits[0]}", "--perf-bisect")
    text = said(result)
    assert result.ret == 1
    assert f"--perf-bisect: the first bad commit is {commits[11][:7]}" in text
    assert "change 11 (" in text
    assert "skipped" in text
    assert project.left_behind() == []
    assert pytester.run("git", "rev-parse", "--abbrev-ref", "HEAD").outlines == head
    assert project.repository.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (model(after="    def stream(self, request):\n        import os\n        os.kill(os.getpid(), 9)"), model(),
         "incomparable: good (*): the worker process was killed by SIGKILL during 'warm-up'*"),
        (model(), model(after="    def stream(self, request):\n        import os\n        os.kill(os.getpid(), 9)"),
         "invalid: the working tree: the worker process was killed by SIGKILL during 'warm-up'*"),
    ],
)  # fmt: skip
def test_an_arm_that_crashes_is_one_line_and_no_green(project: TwinProject, old: str, new: str, line: str) -> None:
    project.commit("old", old)
    project.repository.git("tag", "good")
    project.commit("new", new)
    result = project.run("--perf-against=good")
    said(result)
    outcome = line.partition(":")[0]
    result.stdout.fnmatch_lines([f"Model/tiny/p10-o2:*{outcome}*{line.partition(': ')[2]}"])
    result.assert_outcomes(**({"failed": 1} if outcome == "invalid" else {"skipped": 1}))
    assert project.left_behind() == []


ROOM_FOR_ONE = """
    def open(self, model, workloads):
        from pathlib import Path
        from perfsuite.core.errors import DeviceMemoryError
        self.mark = Path({mark!r})
        if self.mark.exists():
            raise DeviceMemoryError("cuda:0 is out of memory: the weights take 12.6 GiB, 3.1 GiB were free")
        self.mark.touch()
        yield from super().open(model, workloads)

    def close(self):
        self.mark.unlink(missing_ok=True)
        super().close()
"""


def test_arms_that_do_not_fit_together_take_turns_by_whole_sessions(project: TwinProject, tmp_path: Path) -> None:
    after = ROOM_FOR_ONE.format(mark=str(tmp_path / "taken"))
    project.commit("old", model(after=after))
    project.repository.git("tag", "good")
    project.commit("new", model(1.08, after=after))
    result = project.run("--perf-against=good")
    text = said(result)
    assert result.ret == 1
    assert (
        text.count("Model/tiny: both arms at once do not fit (cuda:0 is out of memory: the weights take 12.6 GiB") == 1
    )
    result.stdout.re_match_lines([r"Model/tiny/p10-o2 +TTFT P50 .* +60 +3 \+ 3 +whole sessions"])


def test_an_old_arm_that_loads_the_new_code_is_refused(project: TwinProject, pytester: pytest.Pytester) -> None:
    (pytester.path / "helper.py").write_text("")
    stray = f"import sys\nsys.path.insert(0, {str(pytester.path)!r})\nimport helper"
    project.commit("old", model(before=stray))
    project.repository.git("tag", "good")
    project.commit("new", model(before=stray))
    result = project.run("--perf-against=good")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "module 'helper' was loaded from" in said(result)
    assert project.left_behind() == []


def test_a_strategy_that_the_old_revision_lacks_is_one_line(project: TwinProject) -> None:
    project.repository.commit("nothing yet")
    project.repository.git("tag", "good")
    project.commit("new", model())
    result = project.run("--perf-against=good")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "strategy 'model.py:" in said(result)


def test_ctrl_c_leaves_neither_worktree_nor_process(project: TwinProject, pytester: pytest.Pytester) -> None:
    waits = "    def stream(self, request):\n        import time\n        time.sleep(3600)"
    project.commit("old", model(after=waits))
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "--perf", *FLAGS, "--perf-against=HEAD"],
        cwd=pytester.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for _ in range(1200):
        if project.left_behind() and list(project.temporary.glob("perfsuite-twin-*/*/model.py")):
            break
        time.sleep(0.05)
    else:
        pytest.fail("no worktree was made within a minute")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "every finished twin session is kept in .perfsuite/runs" in output
    assert project.left_behind() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--perf-against=v9.9"], "--perf-against: 'v9.9' is neither a revision of "),
        (["--perf-confirm-against=v9.9"], "--perf-confirm-against: 'v9.9' is neither a revision of "),
        (["--perf-against=HEAD", "--perf-arms=fake,fake"], "--perf-arms: not together with --perf-against"),
        (["--perf-against=HEAD", "--save-baseline"], "--perf-against: not together with --save-baseline"),
        (["--perf-against=HEAD", "--perf-resume"], "--perf-against: not together with --perf-resume"),
        (["--perf-bisect"], "--perf-bisect: needs a revision that was good: --perf-against REVISION"),
        (["--perf-against=.", "--perf-bisect"], "--perf-bisect: needs a revision that was good"),
        (["--perf-arms=fake"], "--perf-arms: 'fake' is not two arms"),
        (["--perf-arms=fake,trtlm"], "--perf-arms: 'trtlm' is not a strategy"),
        (["--perf-arms=fake eager,fake"], "--perf-arms: 'fake eager' names two strategies in one arm"),
        (["--perf-arms=fake,fake dtype=float8"], "--perf-arms: dtype: 'float8' is not allowed"),
        (["--perf-arms=fake,fake speed=2"], "--perf-arms: 'speed' is no option of an arm; choose from revision"),
        (["--perf-arms=fake,fake tensor_parallel_size=two"], "tensor_parallel_size='two' is not a number"),
        (["--perf-arms=fake,'fake"], "cannot be read (No closing quotation)"),
        (["--perf-against=test_speed.py"], "is a file, but neither a wheel nor an interpreter"),
    ],
)
def test_what_cannot_be_used_is_one_line_before_anything_runs(
    project: TwinProject, arguments: list[str], words: str
) -> None:
    project.commit("one", model())
    result = project.run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in result.errlines if line.startswith("ERROR: ")]
    assert len(errors) == 1
    assert words in errors[0]
    said(result)


def test_an_environment_that_does_not_build_is_one_line_and_leaves_nothing(
    project: TwinProject, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (pytester.path / "requirements.txt").write_text("no-such-package==1\n")
    project.commit("old", model())
    project.repository.git("tag", "good")
    (pytester.path / "requirements.txt").unlink()
    project.commit("new", model())
    result = project.run("--perf-against=good")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in said(result).splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 1
    assert errors[0].startswith("ERROR: --perf-against: its environment does not build: ERROR: ")
    assert project.left_behind() == []
    shutil.rmtree(pytester.path / ".perfsuite", ignore_errors=True)
