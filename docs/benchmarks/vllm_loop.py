"""Whether perfsuite's figures for vLLM are its own: the same requests recorded and, in turn, by its benchmark's loop.

The loop is that of `vllm bench latency` (vllm/benchmarks/latency.py of 0.25.1): `LLM.generate` between two readings of
perf_counter, on the very engine that perfsuite measures. Of every two requests the loop has one before the recorder and
one after it. TPOT is (E2E - TTFT) / (tokens - 1), of the loop's requests for all tokens and for one.

python docs/benchmarks/vllm_loop.py [SAMPLES] [MODEL] [SHARE OF THE GPU'S MEMORY]
"""

import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np

from perfsuite.core.engine import EngineOptions
from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.sample import Chunk, Phase, Request
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure.clock import HostClock
from perfsuite.measure.opening import opened
from perfsuite.measure.recorder import Recorder
from perfsuite.strategies.vllm import VllmStrategy

LENGTHS, OUTPUT_TOKENS = (10, 100, 400), 16
FULL_ONE_IN = 4
BLOCK = 10
RESAMPLES = 2000
WANTED = 0.03

Taken = dict[Phase, np.ndarray]
"""Milliseconds [requests, 2], recorded and by the loop: TTFT of requests for one token, E2E of those for all."""


class InTurn:
    """Answers as vLLM does, and asks the same by its own loop, outside of what the recorder times."""

    def __init__(self, inner: VllmStrategy) -> None:
        self.inner = inner
        self.name, self.abilities = inner.name, inner.abilities
        self.facts, self.evidence, self.open, self.close = inner.facts, inner.evidence, inner.open, inner.close
        self.loop_ns: dict[Phase, list[int]] = {Phase.PREFILL: [], Phase.DECODE: []}
        self._llm = llm_around(inner.engine)
        self._turn = 0

    def prepare(self, request: Request) -> None:
        self._turn += 1
        if self._turn % 2:
            self._ask_the_loop(request)

    def stream(self, request: Request) -> Iterator[Chunk]:
        yield from self.inner.stream(request)
        if not self._turn % 2:
            self._ask_the_loop(request)

    def _ask_the_loop(self, request: Request) -> None:
        prompts = [{"prompt_token_ids": list(request.prompts[0])}]
        params = self.inner.params_of(request, 0)
        began = time.perf_counter()
        self._llm.generate(prompts, sampling_params=params, use_tqdm=False)
        took = time.perf_counter() - began
        phase = Phase.PREFILL if request.output_tokens == 1 else Phase.DECODE
        self.loop_ns[phase].append(round(took * 1e9))


def llm_around(engine: Any) -> Any:
    """The class `LLM` of vLLM, which otherwise builds its engine itself."""
    from vllm import LLM, LLMEngine

    with patch.object(LLMEngine, "from_engine_args", lambda **_: engine):
        return LLM(model=engine.vllm_config.model_config.model, skip_tokenizer_init=True)


def taken_by(strategy: InTurn, cell: Cell, samples: int) -> Taken:
    """All that was measured of a cell; SystemExit with the first request that broke."""
    options = MeasureOptions(samples=samples, decode_samples=max(1, samples // FULL_ONE_IN), block_size=BLOCK)
    (take,) = Recorder(strategy, HostClock(), options, lambda _: None).measure((cell,), order_seed=0)
    if take.failures:
        sys.exit(f"a request broke: {take.failures[0].message}")
    recorded = {
        Phase.PREFILL: [sample.ttft_ns for sample in take.samples if sample.phase is Phase.PREFILL],
        Phase.DECODE: [sample.e2e_ns for sample in take.samples if sample.phase is Phase.DECODE],
    }
    return {
        phase: np.column_stack([own, strategy.loop_ns[phase][-len(own) :]]) / 1e6 for phase, own in recorded.items()
    }


def ttft(taken: Taken) -> np.ndarray:
    return np.median(taken[Phase.PREFILL], axis=0)


def e2e(taken: Taken) -> np.ndarray:
    return np.median(taken[Phase.DECODE], axis=0)


def tpot(taken: Taken) -> np.ndarray:
    return (e2e(taken) - ttft(taken)) / (OUTPUT_TOKENS - 1)


def interval(figure: Callable[[Taken], np.ndarray], taken: Taken) -> tuple[float, float]:
    """95 % of the ratios, recorded over loop, from whole blocks drawn with replacement."""
    draw = np.random.default_rng(0)
    blocks = {phase: np.array_split(own, max(1, len(own) // BLOCK)) for phase, own in taken.items()}

    def drawn(parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate([parts[index] for index in draw.integers(len(parts), size=len(parts))])

    found = [figure({phase: drawn(parts) for phase, parts in blocks.items()}) for _ in range(RESAMPLES)]
    low, high = np.quantile([recorded / loop for recorded, loop in found], (0.025, 0.975))
    return float(low), float(high)


def tell(cell: Cell, taken: Taken) -> None:
    counts = ", ".join(str(len(own)) for own in taken.values())
    sys.stdout.write(f"{cell.model.name}, prompt {cell.workload.prompt_tokens}, n = {counts} of each\n")
    for figure in (ttft, e2e, tpot):
        recorded, loop = figure(taken)
        low, high = interval(figure, taken)
        within = "within" if low >= 1 - WANTED and high <= 1 + WANTED else "NOT shown to be within"
        sys.stdout.write(
            f"  {figure.__name__.upper()} P50: {recorded:.3f} ms recorded, {loop:.3f} ms by vLLM's loop, ratio "
            f"{recorded / loop:.4f} (95 % {low:.4f}..{high:.4f}), {within} {WANTED:.0%}\n"
        )


def main(arguments: Sequence[str]) -> None:
    samples, name, share = (*arguments, *("200", "llama-2-7b", "0.5")[len(arguments) :])
    engine = EngineOptions(gpu_memory_utilization=float(share))
    model = ModelSpec(name=name, dtype="float16", device="cuda", engine=engine)
    workloads = tuple(Workload(prompt_tokens=length, output_tokens=OUTPUT_TOKENS) for length in LENGTHS)
    with opened(VllmStrategy(), model, workloads) as inner:
        for workload in workloads:
            cell = Cell(strategy=inner.name, model=model, workload=workload)
            tell(cell, taken_by(InTurn(inner), cell, int(samples)))
        sys.stdout.write(f"{'; '.join(inner.evidence().notes)}; Python {platform.python_version()}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
