"""Strategies with scripted latencies that tell where they ran and who was busy beside them."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import ModelSpec, Workload
from tests.scripted import MS, Scripted

LOG = "sessions.log"


def log(line: str) -> None:
    """One line behind those of other processes."""
    with Path(LOG).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


class Steady(Scripted):
    """Its latencies are a function of the request alone: the same in whichever process and order it is measured."""

    def stream(self, request: Request) -> Iterator[Chunk]:
        for index in range(request.output_tokens):
            wobble = (sum(request.prompts[0][:3]) * 7 + index * 31) % 100
            self.scripted_clock.wait_ns((self.step_ms if index else self.first_ms) * MS + wobble * 100)
            for row in range(len(request.prompts)):
                yield Chunk(token_ids=(index,), row=row)


class Other(Steady):
    first_ms = 7


class Logged(Steady):
    """Writes into sessions.log from when to when it was open, on which cores."""

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        log(f"{os.getpid()} begins on {sorted(os.sched_getaffinity(0))}")
        yield from super().open(model, workloads)

    def close(self) -> None:
        log(f"{os.getpid()} ends")


class Jostled(Logged):
    """Takes 3 ms more as long as another process of it is at work: neither held still nor ended."""

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        Path(f"{os.getpid()}.open").touch()
        yield from super().open(model, workloads)

    def stream(self, request: Request) -> Iterator[Chunk]:
        others = (int(path.stem) for path in Path().glob("*.open"))
        if any(_is_at_work(pid) for pid in others if pid != os.getpid()):
            self.scripted_clock.wait_ns(3 * MS)
        return super().stream(request)


def _is_at_work(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "tTZX"


FOLDER = "PERFSUITE_TEST_FOLDER"
"""Names the folder of sessions.log and of the file that lets Patient ones go on; it travels to a cluster's nodes."""


class Patient(Steady):
    """Its first request waits until the file 'go' is there."""

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        folder = Path(os.environ[FOLDER])
        with (folder / LOG).open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} begins\n")
        yield "load"
        while not (folder / "go").exists():
            time.sleep(0.05)


class Impatient(Other):
    """Answers at once, whatever the others wait for."""


class Hangs(Logged):
    """Its requests are never answered."""

    def stream(self, request: Request) -> Iterator[Chunk]:
        log(f"{os.getpid()} hangs")
        time.sleep(3600)
        return super().stream(request)
