"""What perfsuite's recorder adds to a TTFT: the same requests recorded and, in turn, timed by bare loops.

Of the two bare loops one asks again at once; the other draws a prompt first, as the recorder does between two requests,
so that it finds the processor's caches as the recorder's calls do. Differences are recorded minus bare.

python docs/benchmarks/recorder_cost.py [SAMPLES] [STRATEGY MODEL]      a strategy that does nothing, then eager on tiny
"""

import platform
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import torch

from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.recording import Evidence
from perfsuite.core.sample import Chunk, Phase, Request
from perfsuite.core.workload import ModelFacts, ModelSpec, Workload
from perfsuite.measure.clock import HostClock
from perfsuite.measure.opening import create
from perfsuite.measure.prompts import draw_request
from perfsuite.measure.recorder import Recorder
from perfsuite.measure.strategy import Ability, Strategy
from perfsuite.strategies import references

BLOCK = 20
RESAMPLES = 4000
WORKLOAD = Workload(prompt_tokens=100, output_tokens=4)


class Nothing:
    """Answers at once, so that all that is timed is the timing."""

    name = "nothing"
    abilities = frozenset({Ability.BATCH})

    def open(self, *_: object) -> Iterator[str]:
        yield "load"

    def stream(self, request: Request) -> Iterator[Chunk]:
        for _ in range(request.output_tokens):
            yield Chunk(token_ids=(1,))

    def facts(self) -> ModelFacts:
        return ModelFacts(vocabulary=300, positions=None, parameters=0, dtype="none", device="cpu", fingerprint="none")

    def evidence(self) -> Evidence:
        return Evidence()

    def close(self) -> None:
        return


class Again:
    """Answers as `inner` does; once the recorder has its answer, asks twice more and times that by bare loops."""

    def __init__(self, inner: Strategy) -> None:
        self.inner = inner
        self.name, self.abilities = inner.name, inner.abilities
        self.bare_ns: list[tuple[int, int]] = []
        self.facts, self.evidence, self.open, self.close = inner.facts, inner.evidence, inner.open, inner.close

    def stream(self, request: Request) -> Iterator[Chunk]:
        yield from self.inner.stream(request)
        if request.output_tokens == 1:
            at_once = self._time(request)
            drawn = draw_request(WORKLOAD, Phase.PREFILL, len(self.bare_ns), self.facts().vocabulary)
            self.bare_ns.append((at_once, self._time(drawn)))

    def _time(self, request: Request) -> int:
        began_ns = ended_ns = time.perf_counter_ns()
        for _ in self.inner.stream(request):
            ended_ns = time.perf_counter_ns()
        return ended_ns - began_ns


def taken_by(inner: Strategy, model: ModelSpec, samples: int) -> np.ndarray:
    """Microseconds [samples, 3]: TTFT as recorded, by a bare loop at once, and by one after a prompt was drawn."""
    options = MeasureOptions(samples=samples, decode_samples=1, warmup=20, block_size=BLOCK)
    strategy = Again(inner)
    with closing(strategy):
        for _ in strategy.open(model, (WORKLOAD,)):
            pass
        recorder = Recorder(strategy, HostClock(), options, lambda _: None)
        (take,) = recorder.measure((Cell(strategy=inner.name, model=model, workload=WORKLOAD),), order_seed=0)
    recorded = [sample.ttft_ns for sample in take.samples if sample.phase is Phase.PREFILL]
    return np.column_stack([recorded, strategy.bare_ns[-len(recorded) :]]) / 1000


def differences(taken: np.ndarray) -> np.ndarray:
    """The recorded median minus that of each bare loop."""
    recorded, *bare = np.median(taken, axis=0)
    return recorded - np.array(bare)


def intervals(taken: np.ndarray) -> np.ndarray:
    """95 % of the differences between the medians, from whole blocks drawn with replacement."""
    draw = np.random.default_rng(0)
    blocks = np.array_split(taken, max(1, len(taken) // BLOCK))
    drawn = (draw.integers(len(blocks), size=len(blocks)) for _ in range(RESAMPLES))
    found = [differences(np.concatenate([blocks[index] for index in each])) for each in drawn]
    return np.quantile(found, (0.025, 0.975), axis=0)


def tell(inner: Strategy, model: ModelSpec, samples: int) -> None:
    taken = taken_by(inner, model, samples)
    recorded, *bare = np.median(taken, axis=0)
    sys.stdout.write(f"{inner.name}, {model.name}, n = {len(taken)} of each: recorded P50 {recorded:.2f} us\n")
    rows = zip(("bare at once", "bare after a draw"), bare, differences(taken), *intervals(taken), strict=True)
    for title, median, more, low, high in rows:
        sys.stdout.write(f"  {title}: {median:.2f} us, difference {more:+.2f} us (95 % {low:+.2f}..{high:+.2f})\n")


def main() -> None:
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    name, model = sys.argv[2:4] if len(sys.argv) > 3 else ("eager", "tiny")
    tell(Nothing(), ModelSpec(name="none"), samples)
    tell(create(references()[name]), ModelSpec(name=model), samples)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    sys.stdout.write(f"{device}, Python {platform.python_version()}, torch {torch.__version__}\n")


if __name__ == "__main__":
    main()
