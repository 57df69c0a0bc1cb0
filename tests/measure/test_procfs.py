"""The host as files say it: a /proc and a control group written down in the test."""

from pathlib import Path

import pytest

from perfsuite.core.reading import HostReading, Place
from perfsuite.measure.procfs import Host, is_readable

S = 10**9


class Machine:
    """A /proc of one core's ticks (a hundred a second) and the processes that the test writes."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.cgroup = folder / "proc", folder / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        self.write("self/stat", "1 (self) R 0 " + "0 " * 40)
        self.write("self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/job\n0::/job\n")
        self.write("loadavg", "1.25 0.5 0.1 1/100 4\n")
        self.write("vmstat", "pswpin 0\npswpout 7\n")
        self.ticks()
        self.process(10, "worker")

    def write(self, name: str, text: str) -> None:
        path = self.proc / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def ticks(self, user: int = 0, idle: int = 0, steal: int = 0) -> None:
        self.write("stat", f"cpu  {user} 0 0 {idle} 0 0 0 {steal} 0 0\ncpu0 0\n")

    def process(
        self, pid: int, name: str, *, parent: int = 1, state: str = "S", user: int = 0, faults: int = 0
    ) -> None:
        self.write(f"{pid}/stat", f"{pid} ({name}) {state} {parent} 0 0 0 -1 0 0 0 {faults} 0 {user} 0 0 0 20 0 1 0\n")

    def throttle(self, file: str, text: str) -> None:
        path = self.cgroup / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def host(self) -> Host:
        return Host(10, 0, self.proc, self.cgroup)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    return Machine(tmp_path)


def test_a_reading_stands_for_the_time_since_the_one_before(machine: Machine) -> None:
    host = machine.host()
    machine.ticks(user=150, idle=30, steal=20)
    machine.process(10, "worker", user=100, faults=3)
    machine.write("vmstat", "pswpin 5\n")
    assert host.read(S) == HostReading(
        at_ns=S,
        span_ns=S,
        cores=2,
        load=1.25,
        busy_ns=15 * S // 10,
        own_ns=S,
        steal_ns=S // 5,
        swapped_in=5,
        waited_pages=3,
    )
    assert host.read(3 * S).busy_ns == 0


@pytest.mark.parametrize(("state", "is_stopped"), [("T", True), ("t", True), ("S", False), ("R", False)])
def test_a_stopped_or_traced_process_is_told(machine: Machine, state: str, is_stopped: bool) -> None:
    machine.process(10, "worker", state=state)
    assert machine.host().read(S).is_stopped is is_stopped


@pytest.mark.parametrize(
    ("file", "texts"),
    [
        ("job/cpu.stat", ("throttled_usec 1000\n", "throttled_usec 3000\n")),
        ("cpu/job/cpu.stat", ("throttled_time 1000000\n", "throttled_time 3000000\n")),
        ("cpu.stat", ("usage_usec 5\nthrottled_usec 1000\n", "usage_usec 5\nthrottled_usec 3000\n")),
    ],
    ids=["version 2", "version 1", "inside a container"],
)
def test_the_time_a_control_group_was_held_back_is_read_in_both_versions(
    machine: Machine, file: str, texts: tuple[str, str]
) -> None:
    machine.throttle(file, texts[0])
    host = machine.host()
    machine.throttle(file, texts[1])
    assert host.read(S).throttled_ns == 2_000_000


def test_what_cannot_be_read_is_none(machine: Machine) -> None:
    for name in ("loadavg", "vmstat", "stat", "10/stat"):
        (machine.proc / name).unlink()
    reading = machine.host().read(S)
    assert (reading.load, reading.busy_ns, reading.own_ns, reading.swapped_in, reading.throttled_ns) == (None,) * 5


def test_a_process_with_a_strange_name_is_read(machine: Machine) -> None:
    machine.process(11, "a) S 1 (b c")
    host = machine.host()
    machine.process(11, "a) S 1 (b c", user=100)
    (found,) = host.neighbours(S)
    assert found.name == "a) S 1 (b c"


def test_a_busy_process_outside_the_family_is_a_neighbour(machine: Machine) -> None:
    for pid, name, parent in (
        (11, "burn", 1),
        (12, "child", 10),
        (13, "grandchild", 12),
        (14, "idle", 1),
        (15, "own", 1),
    ):
        machine.process(pid, name, parent=parent)
    host = machine.host()
    for pid, name, parent, user in (
        (11, "burn", 1, 63),
        (12, "child", 10, 90),
        (13, "grandchild", 12, 90),
        (15, "own", 1, 90),
    ):
        machine.process(pid, name, parent=parent, user=user)
    machine.process(16, "new", user=90)
    (found,) = host.neighbours(S, frozenset({15}))
    assert (found.place, found.pid, found.name, found.share, found.span_ns) == (Place.HOST, 11, "burn", 0.63, S)


def test_the_family_is_everything_below_the_measured_process(machine: Machine) -> None:
    machine.process(12, "child", parent=10)
    host = machine.host()
    assert [host.is_family(pid) for pid in (10, 12, 1, 99)] == [True, True, False, False]


def test_a_folder_without_proc_cannot_be_read(tmp_path: Path, machine: Machine) -> None:
    assert not is_readable(tmp_path / "nothing")
    assert is_readable(machine.proc)
