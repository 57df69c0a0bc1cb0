"""Owns the processes of the ranks that follow: started by torch's elastic launch, and how each of them ended."""

import signal
import subprocess
import sys
import threading
from contextlib import suppress

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, start_processes
from torch.distributed.elastic.multiprocessing.api import SubprocessContext
from torch.distributed.elastic.multiprocessing.subprocess_handler import SubprocessHandler

BOOT = "import sys; sys.path[:] = {path!r}; from perfsuite.strategies._follower import main; main()"
"""Starts a rank with the path of the process that starts it."""
ENDING_S, CLOSING_S = 5.0, 20.0
"""How long a process may take to end: one that has closed its lines, and one that was told to."""
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT") if hasattr(signal, name))
"""Whose handlers the elastic launch replaces; they are put back, as this process is not the launch's own."""


class Followers:
    """Ranks 1 to `size` - 1, which come to `address`; what they write goes where this process writes to."""

    def __init__(self, address: str, size: int, folder: str) -> None:
        self.size = size
        self._processes = [handler.proc for _, handler in sorted(_launched(address, size, folder).items())]

    def has_ended(self, rank: int) -> bool:
        return self._processes[rank - 1].poll() is not None

    def ending(self, rank: int) -> str:
        """'rank 1 of 2 was killed by SIGKILL'."""
        try:
            code = self._processes[rank - 1].wait(timeout=ENDING_S)
        except subprocess.TimeoutExpired:
            return f"rank {rank} of {self.size} closed its lines"
        cause = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"rank {rank} of {self.size} {cause}"

    def await_ends(self) -> None:
        """Until they are gone, or have had their time."""
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=CLOSING_S)

    def kill(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()

    def end(self) -> None:
        """Kill whoever is there still, and wait until all are gone."""
        self.kill()
        for process in self._processes:
            process.wait()


def _launched(address: str, size: int, folder: str) -> dict[int, SubprocessHandler]:
    handlers = {each: signal.getsignal(each) for each in SIGNALS}
    ranks = {index: str(index + 1) for index in range(size - 1)}
    try:
        started = start_processes(
            name="perfsuite-ranks",
            entrypoint=sys.executable,
            args={index: ("-c", BOOT.format(path=sys.path), address, rank) for index, rank in ranks.items()},
            envs={index: {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": str(size)} for index, rank in ranks.items()},
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
    finally:
        if threading.current_thread() is threading.main_thread():
            for each, handler in handlers.items():
                signal.signal(each, handler)
    if not isinstance(started, SubprocessContext):
        raise RuntimeError("torch's elastic launch gave other processes than were asked for")
    return dict(started.subprocess_handlers)
