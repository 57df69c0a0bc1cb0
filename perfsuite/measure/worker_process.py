"""Owns a session's worker as a process that is spoken to by lines: started, told, heard, and ended with all it started.

It must not know what the lines say.
"""

import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from perfsuite.measure.family import MARK, end_group, end_marked, new_mark, signal_group
from perfsuite.measure.recipe import Recipe

CLOSING_S = 30.0
POLL_S = 0.5


class SessionStoppedError(Exception):
    """The run asked for the end of a session before it had one."""


@contextmanager
def running(recipe: Recipe, log: IO[bytes]) -> Iterator["WorkerProcess"]:
    """A fresh process that writes its errors to `log`; no process is left behind."""
    mark = new_mark()
    process = subprocess.Popen(
        recipe.command,
        cwd=recipe.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        encoding="utf-8",
        start_new_session=True,
        env=recipe.environment(**{MARK: mark}),
    )
    try:
        yield WorkerProcess(process)
    finally:
        _end(process, mark)


class WorkerProcess:
    """A process with a line in and a line out. Its input is left open: when it closes, nobody waits any more."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._lines = _heard(process)

    def tell(self, text: str) -> None:
        """Write lines to it; one that died says why when it is followed."""
        if self.process.stdin is None:
            raise RuntimeError("the worker was started without a standard input")
        with suppress(BrokenPipeError):
            self.process.stdin.write(text + "\n")
            self.process.stdin.flush()

    def next_line(self, timeout_s: float, stop: threading.Event) -> str | None:
        """The next line, '' at the end of the stream or of the process, `None` if nothing came in time.

        A process that ended counts even while a child of it still holds the stream open. SessionStoppedError once
        `stop` is set.
        """
        for _ in range(max(1, round(timeout_s / POLL_S))):
            if stop.is_set():
                raise SessionStoppedError
            has_ended = self.has_ended
            try:
                return self._lines.get(timeout=POLL_S)
            except queue.Empty:
                if has_ended:
                    return ""
        return None

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self.process.poll() is not None

    def hold(self) -> None:
        """Stop it and its children where they are, until `go_on`."""
        signal_group(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        signal_group(self.process.pid, signal.SIGCONT)

    def let_close(self) -> None:
        """Give it the time to give its memory back; if that is not enough, it is ended with its process group."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=CLOSING_S)


def _heard(process: "subprocess.Popen[str]") -> "queue.Queue[str]":
    """A queue that gets every line of the worker, then an empty string."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in process.stdout or ():
            if line.endswith("\n"):  # a worker killed in the middle of a line leaves a piece of one
                lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True, name="perfsuite-worker-events").start()
    return lines


def _end(process: "subprocess.Popen[str]", mark: str) -> None:
    """End the worker and every process it started, one that left its group too; it has had its say."""
    if process.poll() is None or sys.platform != "win32":
        end_group(process.pid)
    end_marked(mark)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()
