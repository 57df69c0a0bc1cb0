"""Owns the ending of everything that a session has started, those processes too that left its process group.

Every session has a mark in its environment, which whatever it starts inherits. Where there is no /proc only the process
group is ended.
"""

import os
import signal
import sys
import uuid
from contextlib import suppress
from pathlib import Path

from perfsuite.measure.clock import pause_ns

MARK = "PERFSUITE_SESSION"
PROC = Path("/proc")
ROUNDS, PAUSE_NS = 200, 10_000_000
"""The list is read again until nobody is on it, for two seconds at most: a killed process takes its time to go, and one
may start another while the list is read."""


def new_mark() -> str:
    return uuid.uuid4().hex


def marked(mark: str) -> list[int]:
    """The processes that carry this mark, but for this one."""
    needle = f"{MARK}={mark}".encode()
    pids = [int(path.name) for path in PROC.glob("[0-9]*") if path.name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and needle in _environment(pid)]


def end_marked(mark: str) -> None:
    """Kill them all, and return when they are gone; this process stays."""
    for _ in range(ROUNDS):
        found = marked(mark)
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return
        pause_ns(PAUSE_NS)


def end_group(leader: int) -> None:
    """Kill a process that leads a group, and its group."""
    if sys.platform == "win32":
        os.kill(leader, signal.SIGTERM)
        return
    signal_group(leader, signal.SIGKILL)


def signal_group(leader: int, which: signal.Signals) -> None:
    """Send a signal to the group that a process leads, if it is still there."""
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):  # it is gone, or a zombie on macOS
            os.killpg(leader, which)


def _environment(pid: int) -> list[bytes]:
    """What it was started with; nothing of a process that is gone, a zombie or somebody else's."""
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
