"""The machine under watch, on a real machine: what watching costs, clean sessions, a foreign process, a pause.

python docs/benchmarks/watched_machine.py cost|clean|burn|pause|all [--strategy cuda-graph] [--model tinyllama-1.1b]
    [--sessions 10] [--samples 200] [--prompts 100,400] [--blocks 120]

`cost` takes blocks of requests in turn, in one process, while the sampler reads and while it is stopped. `clean`
measures sessions and lists every finding (there must be none), with clocks, memory and energy. `burn` starts a process
that multiplies matrices on the GPU (on a CPU: that spins): on a GPU the recording must be invalid and name it. `pause`
stops the measured process for 0.6 s again and again: the finding must appear.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import torch

from perfsuite.core.cycles import mean_clock, median_cycles
from perfsuite.core.disturbance import findings
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import SERIES, parse_metric
from perfsuite.core.options import MeasureOptions
from perfsuite.core.reading import Place
from perfsuite.core.recording import Recording
from perfsuite.core.resources import RESOURCES
from perfsuite.core.sample import Phase
from perfsuite.core.validity import problems
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.launcher import run_session
from perfsuite.measure.opening import create
from perfsuite.measure.prompts import draw_request
from perfsuite.measure.session import Progress, SessionJob
from perfsuite.measure.watch import present, watching
from perfsuite.strategies import references

REQUESTS, RESAMPLES = 20, 4000
BURN = """
import sys, torch
if torch.cuda.is_available():
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    while True:
        a @ a
        torch.cuda.synchronize()
while True:
    pass
"""


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def cells_of(asked: argparse.Namespace) -> tuple[Cell, ...]:
    lengths = [int(text) for text in asked.prompts.split(",")]
    model = ModelSpec(name=asked.model)
    return tuple(
        Cell(strategy=asked.strategy, model=model, workload=Workload(prompt_tokens=length, output_tokens=32))
        for length in lengths
    )


def session(asked: argparse.Namespace, number: int = 0, *, pausing: bool = False) -> tuple[Recording, ...]:
    """The recordings of one fresh process; with `pausing` it is stopped again and again once it measures."""
    job = SessionJob(
        reference=references()[asked.strategy],
        cells=cells_of(asked),
        session=number,
        measure=MeasureOptions(samples=asked.samples, decode_samples=max(10, asked.samples // 10)),
        import_path=tuple(sys.path),
    )
    over, measuring = threading.Event(), threading.Event()

    def follow(progress: Progress) -> None:
        if progress.stage == "measure" and pausing and not measuring.is_set():
            measuring.set()
            threading.Thread(target=pause, args=(over,), daemon=True).start()

    end = run_session(job, follow)
    over.set()
    if not end.recordings:
        sys.exit(f"the session ended without recordings: {end.died or end.broken or end.refused or end.unavailable}")
    return end.recordings


def pause(over: threading.Event) -> None:
    """Stop this process' worker for 0.6 s out of every second."""
    while not over.is_set():
        for pid in children("measure.worker"):
            os.kill(pid, signal.SIGSTOP)
        time.sleep(0.6)
        for pid in children("measure.worker"):
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.4)


def children(module: str) -> list[int]:
    """Processes that this one started and that run a module of perfsuite."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_child = f"PPid:\t{os.getpid()}\n" in (folder / "status").read_text()
            if is_child and module in (folder / "cmdline").read_text():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def tell(recording: Recording) -> int:
    """A line on a recording, one on each of its findings; how many findings there are."""
    seen = recording.monitoring
    if seen is None:
        sys.exit(f"{recording.cell.id}: nobody watched")
    ttft = parse_metric("ttft.p50", where="script")
    times = SERIES["ttft"].values(recording)
    told = [
        f"n {len(recording.samples)} + {len(recording.set_aside)} set aside",
        f"TTFT P50 {median(times) / 1e6:.3f} ms",
        f"readings {len(seen.device)} GPU, {len(seen.host)} host",
    ]
    if clock := mean_clock([recording]):
        cycles = median_cycles(ttft, [recording]) or 0.0
        told += [f"SM {clock:.0f} MHz", f"{cycles / 1e6:.2f} Mcycles"]
        reasons = sorted({reading.reasons or 0 for reading in seen.device})
        told += ["reasons " + ",".join(map(hex, reasons))]
        told += [f"power {max((reading.power_mw or 0) for reading in seen.device) / 1000:.0f} W at most"]
        told += [f"own memory by the driver {(recording.memory.device_used or 0) / 2**30:.2f} GiB"]
    for name, resource in RESOURCES.items():
        value = resource.of_recording(recording)
        told.append(f"{name} {'-' if value is None else resource.text(value)}")
    say(f"{recording.cell.id} session {recording.session}: {', '.join(told)}")
    found = findings((*recording.samples, *recording.set_aside), seen)
    for finding in found:
        say(f"  FINDING {finding.cause.value}: {finding.detail}, {finding.samples} samples")
    for reason in seen.not_monitored:
        say(f"  not monitored: {reason}")
    return len(found)


def clean(asked: argparse.Namespace) -> None:
    count = sum(tell(recording) for number in range(asked.sessions) for recording in session(asked, number))
    say(f"clean: {count} findings in {asked.sessions} sessions of {len(cells_of(asked))} cells")


def burn(asked: argparse.Namespace) -> None:
    process = subprocess.Popen([sys.executable, "-c", BURN])
    try:
        time.sleep(15)  # until it burns
        recordings = session(asked)
    finally:
        process.kill()
        process.wait()
    for recording in recordings:
        tell(recording)
        seen = recording.monitoring
        place = Place.DEVICE if torch.cuda.is_available() else Place.HOST
        named = {each.pid for each in seen.neighbours if each.place is place} if seen else set()
        say(f"  problems: {problems(recording)}")
        say(f"  started {process.pid}, seen on the {place.value}: {sorted(named)}")
    say("on a GPU every recording must be invalid and name the process (in a container by the driver's id of it)")


def paused(asked: argparse.Namespace) -> None:
    for recording in session(asked, pausing=True):
        tell(recording)
        say(f"  problems: {problems(recording)}")


@contextmanager
def opened(asked: argparse.Namespace) -> Iterator[tuple[Callable[[int], float], str]]:
    """What times one request of this number in microseconds, and the device it runs on."""
    strategy, cell = create(references()[asked.strategy]), cells_of(asked)[0]
    try:
        for _ in strategy.open(cell.model, (cell.workload,)):
            pass
        facts = strategy.facts()

        def time_one(index: int) -> float:
            request = draw_request(cell.workload, Phase.PREFILL, index, facts.vocabulary)
            began_ns = ended_ns = time.perf_counter_ns()
            for _ in strategy.stream(request):
                ended_ns = time.perf_counter_ns()
            return (ended_ns - began_ns) / 1000

        yield time_one, facts.device
    finally:
        strategy.close()


def cost(asked: argparse.Namespace) -> None:
    """Blocks of half a second with a sampler that reads and one that is stopped: the ratio of P50s, by whole pairs."""
    before = present()
    pairs: list[dict[bool, np.ndarray]] = []
    with opened(asked) as (time_one, device), watching(device, before):
        (sampler,) = children("measure.monitor")
        for index in range(200):
            time_one(index)
        for number in range(asked.blocks):
            pair = {}
            for watched in (bool(number % 2), not number % 2):
                os.kill(sampler, signal.SIGCONT if watched else signal.SIGSTOP)
                time.sleep(0.05)
                ends = time.perf_counter() + 0.5
                times = []
                while time.perf_counter() < ends:
                    times += [time_one(len(times)) for _ in range(REQUESTS)]
                pair[watched] = np.asarray(times)
            pairs.append(pair)
        os.kill(sampler, signal.SIGCONT)
    ratios = [float(np.log(np.median(pair[True]) / np.median(pair[False]))) for pair in pairs]
    draw = np.random.default_rng(0)
    means = [float(np.mean(draw.choice(ratios, len(ratios)))) for _ in range(RESAMPLES)]
    low, high = np.quantile(means, (0.025, 0.975))
    plain = median(float(np.median(pair[False])) for pair in pairs)
    say(
        f"cost: {asked.strategy} {asked.model}, {asked.blocks} pairs, P50 without the sampler {plain:.1f} us; with it "
        f"{100 * np.expm1(np.mean(ratios)):+.3f} % (95 % {100 * np.expm1(low):+.3f}..{100 * np.expm1(high):+.3f} %)"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("cost", "clean", "burn", "pause", "all"))
    parser.add_argument("--strategy", default="cuda-graph")
    parser.add_argument("--model", default="tinyllama-1.1b")
    parser.add_argument("--prompts", default="100,400")
    for name, number in (("--sessions", 10), ("--samples", 200), ("--blocks", 120)):
        parser.add_argument(name, type=int, default=number)
    asked = parser.parse_args()
    parts = {"cost": cost, "clean": clean, "burn": burn, "pause": paused}
    for name, part in parts.items():
        if asked.what in (name, "all"):
            say(f"--- {name}")
            part(asked)


if __name__ == "__main__":
    main()
