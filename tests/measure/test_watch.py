"""The sampler as a process, on this machine: what it sees, and that it ends with what it watches."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perfsuite.core.codec import encode
from perfsuite.core.reading import Monitoring, Neighbour, Place
from perfsuite.measure import watch
from perfsuite.measure.clock import HostClock, pause_ns
from perfsuite.measure.monitor import Sighting
from perfsuite.measure.procfs import is_readable
from perfsuite.measure.watch import Sampler, Watcher, watching
from tests.watched import FakeNvml, process

needs_proc = pytest.mark.skipif(not is_readable(), reason="there is no /proc here")
BUSY = "while True: pass"


def until(watcher: Watcher, holds: Callable[[Monitoring], bool]) -> Monitoring:
    """What was seen once it holds; there is no other limit on how long that may take than a minute of waiting."""
    for _ in range(600):
        seen = watcher.monitoring(0)
        if holds(seen):
            return seen
        pause_ns(100_000_000)
    pytest.fail(f"not seen within a minute; seen: {watcher.monitoring(0)}")


@pytest.fixture
def stranger() -> Iterator[int]:
    """A busy process that is no child of this one: its parent has ended."""
    code = (
        "import subprocess, sys; "
        f"print(subprocess.Popen([sys.executable, '-c', {BUSY!r}], stdout=subprocess.DEVNULL).pid)"
    )
    out = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    pid = int(out.stdout)
    yield pid
    os.kill(pid, signal.SIGKILL)


@needs_proc
def test_a_busy_second_process_is_seen_with_its_id_and_its_share(stranger: int) -> None:
    with watching("cpu", {}) as watcher:
        seen = until(watcher, lambda found: any(each.pid == stranger for each in found.neighbours))
    (neighbour, *_) = [each for each in seen.neighbours if each.pid == stranger]
    assert (neighbour.place, neighbour.name.startswith("python")) == (Place.HOST, True)
    assert 0 < (neighbour.share or 0) <= 1.1


@needs_proc
def test_a_child_of_the_measured_process_is_no_stranger() -> None:
    child = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        with watching("cpu", {}) as watcher:
            seen = until(watcher, lambda found: len(found.host) > 30)
    finally:
        child.kill()
        child.wait()
    assert child.pid not in {each.pid for each in seen.neighbours}


@needs_proc
def test_a_reading_behind_the_last_sample_is_waited_for() -> None:
    with watching("cpu", {}) as watcher:
        now_ns = HostClock().now_ns()
        seen = watcher.monitoring(now_ns)
    assert seen.host[-1].at_ns >= now_ns
    assert all(reading.span_ns > 0 for reading in seen.host)
    assert seen.not_monitored == ()


@needs_proc
def test_nothing_is_measured_before_the_sampler_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BOOT", f"import time; time.sleep(1); {watch.BOOT}")
    with watching("cpu", {}) as watcher:
        assert isinstance(watcher, Sampler)
        assert watcher._sightings


@needs_proc
def test_a_sampler_that_does_not_start_is_said_and_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BOOT", "import time; time.sleep(600)")
    monkeypatch.setattr(watch, "START_NS", 1)
    monkeypatch.setattr(watch, "PATIENCE_NS", 1)
    with watching("cpu", {}) as watcher:
        seen = watcher.monitoring(HostClock().now_ns())
    assert seen.not_monitored == (watch.UNSTARTED,)


@needs_proc
def test_a_sampler_that_cannot_start_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BOOT", "raise SystemExit(3)")
    with watching("cpu", {}) as watcher:
        seen = watcher.monitoring(HostClock().now_ns())
    assert seen.not_monitored == ("the sampler ended with exit code 3",)


def pid_of(watcher: Watcher) -> int:
    assert isinstance(watcher, Sampler)
    return watcher._process.pid


@needs_proc
def test_the_sampler_is_gone_when_nobody_watches_any_more() -> None:
    with watching("cpu", {}) as watcher:
        pid = pid_of(watcher)
        assert os.path.exists(f"/proc/{pid}")
    assert not os.path.exists(f"/proc/{pid}")


@needs_proc
def test_a_sampler_that_is_killed_is_said_and_costs_no_waiting() -> None:
    with watching("cpu", {}) as watcher:
        until(watcher, lambda found: bool(found.host))
        os.kill(pid_of(watcher), signal.SIGKILL)
        seen = until(watcher, lambda found: bool(found.not_monitored))
    assert seen.not_monitored == ("the sampler ended with exit code -9",)
    assert seen.host


@needs_proc
def test_a_gpu_that_nvml_does_not_know_is_said_and_the_host_still_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "uuid_of", lambda device: "GPU-none")
    with watching("cuda:0", {}) as watcher:
        seen = until(watcher, lambda found: bool(found.host))
    (reason,) = seen.not_monitored
    assert reason.startswith("the GPU: NVML does not")


def test_where_nothing_can_be_seen_nobody_watches_and_the_reasons_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfsuite.measure.procfs.is_readable", lambda: False)
    monkeypatch.setattr(watch, "uuid_of", lambda device: None)
    with watching("cuda:0", {}) as watcher:
        assert watcher.monitoring(0).not_monitored == (watch.NO_PROC, "the GPU: which one it is cannot be told")


def own_on(monkeypatch: pytest.MonkeyPatch, *pids: int) -> tuple[tuple[int, ...], list[str]]:
    library = FakeNvml(
        nvmlInit=None, nvmlShutdown=None, nvmlDeviceGetComputeRunningProcesses=[process(pid) for pid in pids]
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    reasons: list[str] = []
    return watch._own_on("GPU-1", {"GPU-1": frozenset({7})}, reasons), reasons


def test_where_the_driver_counts_as_the_kernel_does_the_family_is_known_by_its_ids(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert own_on(monkeypatch, 7, os.getpid()) == ((), [])


def test_where_it_counts_otherwise_what_came_while_the_strategy_opened_is_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert own_on(monkeypatch, 7, 900001) == ((900001,), [])


def test_a_driver_that_shows_nobody_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_on(monkeypatch) == ((), [watch.HIDDEN])


def test_who_was_on_the_gpu_is_not_told_where_another_session_takes_turns(tmp_path: Path) -> None:
    seen = Sighting(
        neighbours=(
            Neighbour(at_ns=5, span_ns=5, place=Place.DEVICE, pid=7, name="worker", share=0.9),
            Neighbour(at_ns=5, span_ns=5, place=Place.HOST, pid=8, name="make", share=0.9),
        )
    )
    (tmp_path / "log").write_text(json.dumps(encode(seen)) + "\n")
    with subprocess.Popen(["true"]) as process, (tmp_path / "log").open("rb") as log:
        process.wait()
        shared, alone = (
            Sampler(process, log, (), is_shared=is_shared).monitoring(0).neighbours for is_shared in (True, False)
        )
    assert [each.pid for each in shared] == [8]
    assert [each.pid for each in alone] == [7, 8]
