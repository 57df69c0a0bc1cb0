"""A strategy whose every delay and token is written down in the test, and strategies that break in known ways."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np

from perfsuite.core.canary import Canary
from perfsuite.core.errors import DeviceMemoryError, ModelLoadError, StrategyUnavailableError
from perfsuite.core.recording import Evidence
from perfsuite.core.roofline import Limit
from perfsuite.core.sample import Chunk, Request
from perfsuite.core.work import ModelWork
from perfsuite.core.workload import ModelFacts, ModelSpec, Workload
from perfsuite.measure.clock import ScriptedClock
from perfsuite.measure.strategy import ALL_SAMPLING, Ability, Gauge
from perfsuite.strategies.fake import FakeStrategy, script_from_environment

MS = 1_000_000
ENGINE = "import time; time.sleep(3600)"
ILLEGAL_ACCESS = "an illegal memory access was encountered"


class AcceleratorError(RuntimeError):
    """What torch.AcceleratorError is, for tests that do without torch."""


class Scripted:
    """The first event takes `first_ms`, every later one `step_ms`; `answer` may replace the chunks."""

    name = "scripted"
    abilities = frozenset({Ability.BATCH})
    first_ms, step_ms = 5, 2

    def __init__(self, answer: Callable[[Request], list[Chunk]] | None = None) -> None:
        self.scripted_clock = ScriptedClock()
        self.requests: list[Request] = []
        self.is_closed = False
        self._answer = answer

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        yield "load"
        self.scripted_clock.wait_ns(100 * MS)
        yield "compile"
        self.scripted_clock.wait_ns(300 * MS)

    def stream(self, request: Request) -> Iterator[Chunk]:
        self.requests.append(request)
        if self._answer is not None:
            self.scripted_clock.wait_ns(MS)
            yield from self._answer(request)
            return
        for index in range(request.output_tokens):
            self.scripted_clock.wait_ns((self.step_ms if index else self.first_ms) * MS)
            for row in range(len(request.prompts)):
                yield Chunk(token_ids=(index,), row=row)

    def facts(self) -> ModelFacts:
        return ModelFacts(
            vocabulary=100, positions=64, parameters=1, dtype="none", device="scripted", fingerprint="scripted"
        )

    def evidence(self) -> Evidence:
        return Evidence(notes=("scripted",))

    def close(self) -> None:
        self.is_closed = True


class ScriptedGauge:
    """A gauge whose runs take `times_ms` in turn, and on the device half of that if `on_device`."""

    def __init__(
        self,
        clock: ScriptedClock,
        limit: Limit,
        times_ms: Sequence[float] = (1,),
        *,
        amount: int = 1000,
        parts: int = 1,
        on_device: bool = False,
    ) -> None:
        self.limit, self.amount, self.parts = limit, amount, parts
        self.runs = 0
        self._clock = clock
        self._times = cycle(times_ms)
        self._on_device = on_device
        self._last_ns = 0

    def run(self) -> None:
        self.runs += 1
        self._last_ns = round(next(self._times) * MS)
        self._clock.wait_ns(self._last_ns)

    def device_ns(self) -> int | None:
        return self._last_ns // 2 if self._on_device else None


class Limited(Scripted):
    """On a device of 1 TB/s with a model of `read_ms` gigabytes: no pass takes less than so many milliseconds."""

    read_ms = 1

    def facts(self) -> ModelFacts:
        work = ModelWork(weight_bytes=self.read_ms * 10**9, token_flops=1, head_flops=0)
        return replace(super().facts(), work=work)

    def gauges(self) -> Iterator[Gauge]:
        yield ScriptedGauge(self.scripted_clock, Limit.READING, amount=10**9)
        yield ScriptedGauge(self.scripted_clock, Limit.COMPUTING, amount=10**9)


class TooFast(Limited):
    """Says that a prompt pass took 5 ms and a step 2 where reading the weights takes 20."""

    read_ms = 20


class BrokenGauge(Limited):
    def gauges(self) -> Iterator[Gauge]:
        raise RuntimeError("no kernel for this device")


class Unavailable(Scripted):
    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        yield "load"
        raise StrategyUnavailableError("needs the package 'engine'; install it with: pip install engine")


class WithoutModel(Scripted):
    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        yield "load"
        raise ModelLoadError(f"model {model.name!r} does not exist")


class BreaksAtOpen(Scripted):
    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        yield "load"
        raise ZeroDivisionError("engine start\nsecond line")


class DiesAt20(Scripted):
    """Kills its own process at prompts of 20 tokens."""

    def stream(self, request: Request) -> Iterator[Chunk]:
        if len(request.prompts[0]) == 20:
            os.write(2, b"engine: fatal error\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().stream(request)


class DiesInCheck(Scripted):
    """Shows logits, and its process goes when it is asked for them."""

    abilities = ALL_SAMPLING | {Ability.LOGITS}

    def next_token_logits(self, prompts: tuple[tuple[int, ...], ...]) -> object:
        os.kill(os.getpid(), signal.SIGKILL)
        return prompts


class SlowInCheck(DiesInCheck):
    """Takes a second for the logits of each prompt, and gives logits that fit nothing."""

    def next_token_logits(self, prompts: tuple[tuple[int, ...], ...]) -> object:
        time.sleep(1)
        return np.zeros((len(prompts), 100))


class HangsAt20(Scripted):
    """Answers nothing at prompts of 20 tokens."""

    def stream(self, request: Request) -> Iterator[Chunk]:
        if len(request.prompts[0]) == 20:
            time.sleep(3600)
        return super().stream(request)


class RaisesAt20(Scripted):
    """Raises at prompts of 20 tokens."""

    def stream(self, request: Request) -> Iterator[Chunk]:
        if len(request.prompts[0]) == 20:
            raise KeyError("no kernel for this shape")
        return super().stream(request)


class LosesDevice(Scripted):
    """Loses its device, as torch tells it, at prompts of 20 tokens once ten of those are answered; each time then."""

    lost_at = (20,)
    answered = 10

    def stream(self, request: Request) -> Iterator[Chunk]:
        tokens = len(request.prompts[0])
        before = sum(len(each.prompts[0]) == tokens for each in self.requests)
        if tokens in self.lost_at and before >= self.answered:
            raise AcceleratorError(f"CUDA error: {ILLEGAL_ACCESS}\nCUDA kernel errors might be asynchronously reported")
        return super().stream(request)


class LosesDeviceAtOnce(LosesDevice):
    """At any prompt, from the first on."""

    lost_at = (10, 20, 30)
    answered = 0


class LosesDeviceForGood(LosesDevice):
    """Once its device was lost, no other process can open it in this folder."""

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        yield "load"
        if Path("opened").exists():
            raise RuntimeError("no device")
        Path("opened").touch()


class LosesDeviceAtOpen(Scripted):
    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        yield "load"
        raise AcceleratorError("CUDA error: device-side assert triggered")


class LosesDeviceBeside(Scripted):
    """Answers everything, but the canary that it carries finds the device gone."""

    def canaries(self) -> tuple["LostCanary", ...]:
        return (LostCanary(),)


class LostCanary:
    canary = Canary.DEVICE

    def run(self) -> None:
        raise AcceleratorError(f"CUDA error: {ILLEGAL_ACCESS}")

    def device_ns(self) -> int | None:
        return None


class WithoutRoom(Scripted):
    """Its model does not fit."""

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        yield "load"
        raise DeviceMemoryError("model 'tiny': cuda:0 is out of memory: the weights take 12.6 GiB, 3.1 GiB were free")


class Prints(Scripted):
    """Writes to standard output, as engines do."""

    def stream(self, request: Request) -> Iterator[Chunk]:
        os.write(1, b'{"progress": null}\n')
        return super().stream(request)


class OnDevice(Scripted):
    """Runs on the device that the environment variable DEVICE names, with some noise."""

    def facts(self) -> ModelFacts:
        return replace(super().facts(), device=os.environ["DEVICE"])

    def stream(self, request: Request) -> Iterator[Chunk]:
        self.scripted_clock.wait_ns(request.prompts[0][0] * 100)
        return super().stream(request)


class WithoutEvidence(Scripted):
    def evidence(self) -> Evidence:
        raise RuntimeError("the engine is gone")


class WithoutDeviceTime(Scripted):
    def device_ns(self) -> tuple[int, ...]:
        raise RuntimeError("no events")


class DiesMidLine(Scripted):
    """Leaves half an event on the stream and dies."""

    def stream(self, request: Request) -> Iterator[Chunk]:
        for descriptor in range(3, 20):
            with suppress(OSError):
                os.write(descriptor, b'{"progress": {"sta')
        os.kill(os.getpid(), signal.SIGKILL)
        return super().stream(request)


class Repeatable(FakeStrategy):
    """The scripted strategy with seed 0 in the first session of a folder, 1 in the next and so on."""

    def __init__(self) -> None:
        tally = Path("sessions.tally")
        seed = tally.stat().st_size if tally.exists() else 0
        with tally.open("a") as file:
            file.write("|")
        super().__init__(replace(script_from_environment(), seed=seed))


class WithEngine(Scripted):
    """Runs an engine in a process that has left the worker's process group, as some servers do."""

    _engine: "subprocess.Popen[bytes] | None" = None

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        yield "load"
        self._engine = subprocess.Popen([sys.executable, "-c", ENGINE], start_new_session=True)
        Path("engine.pid").write_text(str(self._engine.pid))


class WithEngineKilledAt20(WithEngine):
    """Kills itself at prompts of 20 tokens and leaves the engine behind."""

    def stream(self, request: Request) -> Iterator[Chunk]:
        if len(request.prompts[0]) == 20:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().stream(request)


class EngineDiesAt20(WithEngine):
    """Its engine is killed at prompts of 20 tokens; the strategy notices at the next question."""

    def stream(self, request: Request) -> Iterator[Chunk]:
        if self._engine is not None and len(request.prompts[0]) == 20:
            self._engine.kill()
            self._engine.wait()
            raise ConnectionError("the engine does not answer")
        return super().stream(request)


class WithEngineHangingAt20(WithEngine):
    """Answers nothing at prompts of 20 tokens; in real time, so that it is watched."""

    def __init__(self) -> None:
        super().__init__()
        del self.scripted_clock

    def stream(self, request: Request) -> Iterator[Chunk]:
        if len(request.prompts[0]) == 20:
            time.sleep(3600)
        for index in range(request.output_tokens):
            yield Chunk(token_ids=(index,))


class InTurns(Scripted):
    """Writes into the file `turns.log` when it begins and ends to work, behind the name in the variable ARM.

    At prompts of 20 tokens the arm in the variable BREAKS kills itself, hangs or has no room, as HOW says. The arms in
    SLOW take 35 ms for a first token.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first_ms = 35 if os.environ["ARM"] in os.environ.get("SLOW", "").split(",") else self.first_ms

    def _work(self, what: str) -> None:
        with Path("turns.log").open("a") as file:
            file.write(f"{os.environ['ARM']} {what}\n")

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        self._work("begins to open")
        yield "load"
        if os.environ.get("HOW") == "room" and Path("one.is.open").exists():
            raise DeviceMemoryError(
                "model 'tiny': cuda:0 is out of memory: the weights take 12.6 GiB, 3.1 GiB were free"
            )
        Path("one.is.open").touch()
        self._work("ends to open")

    def stream(self, request: Request) -> Iterator[Chunk]:
        if len(request.prompts[0]) == 20 and os.environ.get("BREAKS") == os.environ["ARM"]:
            if os.environ["HOW"] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(3600)
        self._work(f"begins {request.output_tokens} of {hash(request.prompts)}")
        yield from super().stream(request)
        self._work(f"ends {request.output_tokens} of {hash(request.prompts)}")

    def close(self) -> None:
        Path("one.is.open").unlink(missing_ok=True)


class InRounds(Scripted):
    """Writes its name and the length of the prompt of every request into the file `rounds.log`."""

    def stream(self, request: Request) -> Iterator[Chunk]:
        with Path("rounds.log").open("a") as file:
            file.write(f"{type(self).__name__} p{len(request.prompts[0])}\n")
        yield from super().stream(request)


class NumbersPhases(Scripted):
    """Says while it opens what no recording can hold: a phase without a name."""

    def open(self, model: ModelSpec, workloads: tuple[Workload, ...]) -> Iterator[str]:
        yield 5  # type: ignore[misc]


class FirstInRounds(InRounds):
    pass


class SecondInRounds(InRounds):
    pass


class ThirdInRounds(InRounds):
    pass
