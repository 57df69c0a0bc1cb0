"""Owns the reading of the host from Linux's /proc and /sys: its load, what others take of it, and who they are."""

import os
from dataclasses import dataclass
from pathlib import Path

from perfsuite.core.reading import HostReading, Neighbour, Place

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
FREQUENCIES = "/sys/devices/system/cpu"
LEAST_SHARE = 0.25
"""A process that takes less of a core than this is nobody's neighbour: every machine has some."""
NS_PER_S = 10**9
STOPPED = frozenset("tT")


def is_readable(proc: Path = PROC) -> bool:
    return (proc / "stat").exists() and (proc / "self" / "stat").exists()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    """One line of /proc/<pid>/stat: its name, state, parent, processor time with that of its ended children."""

    name: str
    state: str
    parent: int
    busy_ns: int
    major_faults: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counters:
    """Everything that only ever grows, at one instant."""

    at_ns: int
    busy_ns: int | None
    steal_ns: int | None
    own_ns: int | None
    throttled_ns: int | None
    swapped_in: int | None
    major_faults: int | None


class Host:
    """Reads the host beside the process `pid`; each reading stands for the time since the one before."""

    def __init__(self, pid: int, now_ns: int, proc: Path = PROC, cgroup: Path = CGROUP) -> None:
        self._pid = pid
        self._proc = proc
        self._throttled = _throttled_file(proc, cgroup)
        self._cores = os.cpu_count() or 1
        self._tick_ns = NS_PER_S // os.sysconf("SC_CLK_TCK")
        self._frequencies = sorted(Path(FREQUENCIES).glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
        self._before = self._count(now_ns, self._process(pid))
        self._processes = self._all_processes()
        self._counted_at_ns = now_ns

    def read(self, now_ns: int) -> HostReading:
        own = self._process(self._pid)
        before, after = self._before, self._count(now_ns, own)
        self._before = after
        return HostReading(
            at_ns=now_ns,
            span_ns=now_ns - before.at_ns,
            cores=self._cores,
            load=self._load(),
            cpu_mhz=self._mhz(),
            busy_ns=_grown(before.busy_ns, after.busy_ns),
            own_ns=_grown(before.own_ns, after.own_ns),
            steal_ns=_grown(before.steal_ns, after.steal_ns),
            throttled_ns=_grown(before.throttled_ns, after.throttled_ns),
            swapped_in=_grown(before.swapped_in, after.swapped_in),
            waited_pages=_grown(before.major_faults, after.major_faults),
            is_stopped=own is not None and own.state in STOPPED,
        )

    def neighbours(self, now_ns: int, own: frozenset[int] = frozenset()) -> tuple[Neighbour, ...]:
        """The processes, none of the measured one's family nor `own`, that took much of a core since the last look."""
        before, after = self._processes, self._all_processes()
        span_ns = max(1, now_ns - self._counted_at_ns)
        self._processes, self._counted_at_ns = after, now_ns
        shares = {
            pid: (process.busy_ns - before[pid].busy_ns) / span_ns
            for pid, process in after.items()
            if pid in before and pid not in own
        }
        return tuple(
            Neighbour(
                at_ns=now_ns, span_ns=span_ns, place=Place.HOST, pid=pid, name=after[pid].name, share=round(share, 3)
            )
            for pid, share in sorted(shares.items())
            if share >= LEAST_SHARE and not self._is_family(pid, after)
        )

    def is_family(self, pid: int) -> bool:
        """Whether a process is the measured one or below it."""
        return self._is_family(pid, {})

    def _is_family(self, pid: int, known: dict[int, _Process]) -> bool:
        seen: set[int] = set()
        while pid > 1 and pid not in seen:
            if pid == self._pid:
                return True
            seen.add(pid)
            process = known.get(pid) or self._process(pid)
            pid = process.parent if process else 0
        return False

    def _count(self, now_ns: int, own: _Process | None) -> _Counters:
        times = [int(part) * self._tick_ns for part in _first_line(self._proc / "stat").split()[1:9]]
        whole = len(times) == 8
        return _Counters(
            at_ns=now_ns,
            busy_ns=sum(times[:3]) + sum(times[5:7]) if whole else None,
            steal_ns=times[7] if whole else None,
            own_ns=own.busy_ns if own else None,
            throttled_ns=_throttled_ns(self._throttled),
            swapped_in=_field(self._proc / "vmstat", "pswpin"),
            major_faults=own.major_faults if own else None,
        )

    def _load(self) -> float | None:
        words = _first_line(self._proc / "loadavg").split()
        return float(words[0]) if words else None

    def _mhz(self) -> float | None:
        kilohertz = [int(text) for path in self._frequencies if (text := _first_line(path).strip()).isdigit()]
        return sum(kilohertz) / len(kilohertz) / 1000 if kilohertz else None

    def _all_processes(self) -> dict[int, _Process]:
        pids = [int(name) for name in os.listdir(self._proc) if name.isdigit()]
        return {pid: process for pid in pids if (process := self._process(pid)) is not None}

    def _process(self, pid: int) -> _Process | None:
        """`None` if it is gone. A name may hold spaces and brackets: the last bracket ends it."""
        head, _, tail = _first_line(self._proc / str(pid) / "stat").rpartition(")")
        fields = tail.split()
        if len(fields) < 15:
            return None
        return _Process(
            name=head.partition("(")[2],
            state=fields[0],
            parent=int(fields[1]),
            busy_ns=sum(map(int, fields[11:15])) * self._tick_ns,
            major_faults=int(fields[9]),
        )


def _grown(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else max(0, after - before)


def _first_line(path: Path) -> str:
    """Its first line, '' if it cannot be read: a process may end at any time."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline()
    except OSError:
        return ""


def _field(path: Path, name: str) -> int | None:
    """The number behind `name` in a file of names and numbers."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return None
    found = (line.split() for line in text.splitlines() if line.startswith(name + " "))
    return next((int(words[1]) for words in found if len(words) == 2), None)


def _throttled_file(proc: Path, cgroup: Path) -> Path | None:
    """cpu.stat of the control group that this process is in, version 2 or 1; `None` without one that has a quota."""
    files = [place / "cpu.stat" for place in control_groups(proc, cgroup)]
    return next((file for file in files if _throttled_ns(file) is not None), None)


def control_groups(proc: Path = PROC, cgroup: Path = CGROUP) -> tuple[Path, ...]:
    """Where the control group of this process may tell of processors: its own folders, then those of a container."""
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    groups = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    places = [
        (cgroup if not controllers else cgroup / "cpu") / path.lstrip("/")
        for _, controllers, path in groups
        if not controllers or "cpu" in controllers.split(",")
    ]
    return (*places, cgroup, cgroup / "cpu")


def _throttled_ns(file: Path | None) -> int | None:
    """Microseconds in version 2, nanoseconds in version 1."""
    if file is None:
        return None
    micros = _field(file, "throttled_usec")
    return _field(file, "throttled_time") if micros is None else 1000 * micros
