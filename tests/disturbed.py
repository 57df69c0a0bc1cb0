"""Strategies in real time, on machines that somebody disturbs."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from perfsuite.core.recording import Evidence
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.workload import ModelFacts, ModelSpec, Workload
from perfsuite.measure.strategy import Ability

STOPPING = """
import os, signal, time
pid = os.getppid()
while True:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.4)
    os.kill(pid, signal.SIGCONT)
    time.sleep(0.02)
"""
"""Stops its parent four tenths of a second at a time, so that the sampler sees it stopped several times."""


class RealTime:
    """Takes ten milliseconds a token."""

    name = "real-time"
    abilities = frozenset({Ability.BATCH})

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        yield "load"

    def stream(self, request: Request) -> Iterator[Chunk]:
        for index in range(request.output_tokens):
            time.sleep(0.01)
            yield Chunk(token_ids=(index,))

    def facts(self) -> ModelFacts:
        return ModelFacts(vocabulary=100, positions=64, parameters=1, dtype="none", device="real", fingerprint="real")

    def evidence(self) -> Evidence:
        return Evidence()

    def close(self) -> None:
        return


class Stopped(RealTime):
    """Its process is stopped again and again while it is measured."""

    _stopper: "subprocess.Popen[bytes] | None" = None

    def stream(self, request: Request) -> Iterator[Chunk]:
        if self._stopper is None and self.is_to_be_stopped():
            self._stopper = subprocess.Popen([sys.executable, "-c", STOPPING])
        return super().stream(request)

    def is_to_be_stopped(self) -> bool:
        return True

    def close(self) -> None:
        if self._stopper is not None:
            self._stopper.kill()
            self._stopper.wait()
            os.kill(os.getpid(), 18)
            self._stopper = None


class StoppedAtFirst(Stopped):
    """The first session of a folder only."""

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        yield "load"
        self._is_first = not Path("opened").exists()
        Path("opened").touch()

    def is_to_be_stopped(self) -> bool:
        return self._is_first
