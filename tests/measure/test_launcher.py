import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.launcher import SessionEnd, run_session
from perfsuite.measure.procfs import is_readable
from perfsuite.measure.session import Progress, SessionJob
from tests.scripted import ENGINE

needs_proc = pytest.mark.skipif(not is_readable(), reason="there is no /proc here")


def run(
    strategy: str,
    seen: list[Progress] | None = None,
    silence_ns: int = 60 * 10**9,
    phases: Mapping[str, int] = MappingProxyType({}),
) -> SessionEnd:
    cells = tuple(
        Cell(strategy="scripted", model=ModelSpec(name="tiny"), workload=Workload(prompt_tokens=n, output_tokens=2))
        for n in (10, 20)
    )
    measure = MeasureOptions(samples=2, decode_samples=1, warmup=1, silence_ns=silence_ns, phase_silence_ns=phases)
    reference = f"tests.scripted:{strategy}"
    job = SessionJob(reference=reference, cells=cells, session=0, measure=measure, import_path=tuple(sys.path))
    return run_session(job, (seen if seen is not None else []).append)


def test_a_session_runs_in_a_process_of_its_own_and_hands_back_recordings() -> None:
    end = run("Scripted")
    assert [len(recording.samples) for recording in end.recordings] == [3, 3]


def test_progress_names_every_stage_and_cell() -> None:
    seen: list[Progress] = []
    run("Scripted", seen)
    assert [progress.stage for progress in seen[:4]] == ["load", "compile", "warm-up", "warm-up"]
    assert {progress.cell for progress in seen} == {None, 0, 1}


def test_what_an_engine_prints_is_not_taken_for_an_event() -> None:
    assert len(run("Prints").recordings) == 2


def test_a_killed_worker_is_told_with_its_signal_its_last_words_and_the_cell() -> None:
    end = run("DiesAt20")
    assert end.culprit is not None
    assert end.culprit.workload.prompt_tokens == 20
    assert end.died == "the worker process was killed by SIGKILL during 'warm-up'; its last output: engine: fatal error"


def test_a_silent_worker_is_ended() -> None:
    end = run("HangsAt20", silence_ns=5 * 10**9)
    assert end.died is not None
    assert "said nothing for 5.00 s" in end.died


def test_a_session_that_is_refused_hands_back_no_recordings() -> None:
    end = run("Unavailable")
    assert end.unavailable is not None
    assert end.recordings == ()


def test_half_an_event_is_taken_for_the_end_of_the_worker() -> None:
    end = run("DiesMidLine")
    assert end.died is not None
    assert "killed by SIGKILL" in end.died


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """A word in the environment of every process that this test starts, so that other tests' workers do not count."""
    word = f"perfsuite-test-{uuid.uuid4().hex}"
    monkeypatch.setenv("PERFSUITE_TEST_MARK", word)
    return word


def test_no_process_is_left_behind_by_a_hanging_worker(mark: str) -> None:
    run("HangsAt20", phases={"warm-up": 10**9})
    assert processes(mark) == {}


@pytest.mark.parametrize("strategy", ["WithEngine", "WithEngineKilledAt20", "EngineDiesAt20"])
def test_no_engine_is_left_behind_whoever_is_killed(
    strategy: str, mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(strategy)
    assert (tmp_path / "engine.pid").exists()
    assert processes(mark) == {}


def test_an_engine_that_is_killed_costs_its_own_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole, broken = run("EngineDiesAt20").recordings
    assert (len(whole.samples), whole.failures) == (3, ())
    assert {failure.message for failure in broken.failures} == {"ConnectionError: the engine does not answer"}


@pytest.fixture
def left_running(mark: str, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A run whose worker has started an engine and a sampler, and hangs."""
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        "from tests.measure.test_launcher import run; run('WithEngineHangingAt20')"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    try:
        wait_until(lambda: {"worker", "monitor", "engine"} <= set(processes(mark).values()))
        yield parent
    finally:
        parent.kill()
        parent.wait()


@needs_proc
def test_nothing_is_left_behind_when_the_run_is_killed(mark: str, left_running: "subprocess.Popen[bytes]") -> None:
    left_running.send_signal(signal.SIGKILL)
    left_running.wait()
    wait_until(lambda: not processes(mark))


@needs_proc
def test_nothing_is_left_behind_when_run_and_worker_are_killed_at_once(
    mark: str, left_running: "subprocess.Popen[bytes]"
) -> None:
    workers = [pid for pid, kind in processes(mark).items() if kind == "worker"]
    left_running.send_signal(signal.SIGKILL)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    left_running.wait()
    wait_until(lambda: not processes(mark))


@needs_proc
def test_a_worker_that_is_killed_leaves_neither_engine_nor_sampler(
    mark: str, left_running: "subprocess.Popen[bytes]"
) -> None:
    workers = [pid for pid, kind in processes(mark).items() if kind == "worker"]
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    left_running.wait()
    assert processes(mark) == {}


def test_a_phase_may_have_a_timeout_of_its_own() -> None:
    end = run("HangsAt20", phases={"warm-up": 3 * 10**9})
    assert end.died is not None
    assert "said nothing for 3.00 s (--perf-timeout) and was ended during 'warm-up'" in end.died


def test_what_a_worker_wrote_before_it_died_is_kept() -> None:
    assert run("DiesAt20").output == "engine: fatal error\n"
    assert run("Scripted").output == ""


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(600):
        if holds():
            return
        time.sleep(0.05)
    pytest.fail("it did not happen within thirty seconds")


def processes(mark: str) -> dict[int, str]:
    """What was started under this mark, by process id: 'run', 'worker', 'monitor' (the sampler) or 'engine'."""
    pids = {int(pid) for pid in os.listdir("/proc") if pid.isdigit()} - {os.getpid()}
    own = [pid for pid in pids if mark in _read(pid, "environ")]
    kinds = {"measure.worker": "worker", "measure.monitor": "monitor", ENGINE: "engine"}
    lines = {pid: _read(pid, "cmdline") for pid in own}
    return {pid: next((kind for text, kind in kinds.items() if text in line), "run") for pid, line in lines.items()}


def _read(pid: int, name: str) -> str:
    try:
        with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def test_a_worker_that_dies_while_sampling_is_checked_keeps_what_was_measured_and_blames_no_cell() -> None:
    end = run("DiesInCheck")
    assert [len(recording.samples) for recording in end.recordings] == [3, 3]
    assert (end.died, end.culprit) == (None, None)
    assert end.environment is not None
    for recording in end.recordings:
        assert recording.failures == ()
        assert recording.sampling is not None
        assert recording.sampling.not_checked == "the worker process was killed by SIGKILL during 'sampling'"


def test_a_slow_check_of_sampling_shows_a_sign_of_life_for_every_request() -> None:
    end = run("SlowInCheck", silence_ns=2 * 10**9)
    assert all(
        recording.sampling is not None and recording.sampling.not_checked is None for recording in end.recordings
    )
