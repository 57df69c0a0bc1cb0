"""Prints TTFT and TPOT of a strategy on one device and on several, and whether their greedy tokens are the same.

Usage: python docs/benchmarks/parallel.py --model llama-2-7b --strategy eager,jit-cuda-graph --ranks 1,2

Beside each latency is the GPU's share of it, and behind all of a strategy how long it took to open, how fast the ranks
send to each other, and the notes of its evidence.

Tokens count as the same up to floating-point ties: where they first differ, the two likeliest tokens of one device lie
no further apart there than --tie of the largest logit. What follows a tie is another text, and is not compared.
"""

import argparse
from collections.abc import Iterator
from statistics import mean, median
from typing import Any

from perfsuite.core.engine import EngineOptions
from perfsuite.core.roofline import Limit
from perfsuite.core.sample import Request
from perfsuite.core.workload import ModelSpec, SamplingParams, Workload
from perfsuite.measure.clock import HostClock
from perfsuite.measure.limits import measure_limits
from perfsuite.measure.opening import create, opened
from perfsuite.measure.strategy import PreparesRequests
from perfsuite.strategies import references

GREEDY = SamplingParams(temperature=0)
WARM_UPS = 5


def main() -> None:
    asked = _arguments()
    for strategy in asked.strategy.split(","):
        alone: dict[tuple[int, ...], list[int]] = {}
        logits: dict[tuple[int, ...], Any] = {}
        for ranks in map(int, asked.ranks.split(",")):
            for line in _lines(strategy, ranks, asked, alone, logits):
                print(f"{strategy} on {ranks}: {line}", flush=True)  # noqa: T201


def _lines(
    strategy: str,
    ranks: int,
    asked: argparse.Namespace,
    alone: dict[tuple[int, ...], list[int]],
    logits: dict[tuple[int, ...], Any],
) -> Iterator[str]:
    """What is printed of a strategy on so many devices; what one device says is kept in `alone` and `logits`."""
    engine = EngineOptions(tensor_parallel_size=ranks)
    spec = ModelSpec(name=asked.model, dtype=asked.dtype, device=asked.device, engine=engine)
    lengths = [int(length) for length in asked.prompt_lengths.split(",")]
    workloads = tuple(
        Workload(prompt_tokens=length, output_tokens=asked.output_tokens, sampling=GREEDY) for length in lengths
    )
    clock = HostClock()
    began_ns = clock.now_ns()
    with opened(create(references()[strategy]), spec, workloads) as runs:
        opening = f"opened in {(clock.now_ns() - began_ns) / 1e9:.0f} s"
        for length in lengths:
            prompt = tuple((7 * index + 3) % runs.facts().vocabulary for index in range(length))
            request = Request(prompts=(prompt,), output_tokens=asked.output_tokens, sampling=GREEDY)
            ids, latencies = _measured(runs, request, asked.samples)
            if ranks == 1:
                alone[prompt] = ids
                contexts = [(*prompt, *ids[:step]) for step in range(len(ids))]
                logits.update((context, runs.next_token_logits((context,))[0]) for context in contexts)
            same = _same(prompt, alone.get(prompt), ids, logits, asked.tie)
            yield f"{length} tokens, {latencies}, tokens: {same}"
        limits = measure_limits(runs.gauges(), clock)
        yield "; ".join((opening, *filter(None, [limits.words(Limit.LINK) if limits else ""]), *runs.evidence().notes))


def _measured(strategy: Any, request: Request, samples: int) -> tuple[list[int], str]:
    """The ids, and the medians of TTFT and TPOT."""
    if isinstance(strategy, PreparesRequests):
        strategy.prepare(request)
    ids, host, device = [], [], []
    for _ in range(WARM_UPS + samples):
        run = list(_stamped(strategy, request))
        ids, stamps = [token for token, _ in run], [at_ns for _, at_ns in run]
        host.append((stamps[0], (stamps[-1] - stamps[0]) / max(1, len(run) - 1)))
        steps = strategy.device_ns()
        device.append((steps[0], mean(steps[1:] or steps)) if steps else None)
    return ids, ", ".join(_latency(name, index, host, device) for index, name in enumerate(("TTFT", "TPOT")))


def _latency(name: str, index: int, host: list[Any], device: list[Any]) -> str:
    text = f"{name} {median(each[index] for each in host[WARM_UPS:]) / 1e6:.3f} ms"
    if None in device:
        return text
    return f"{text} (GPU {median(each[index] for each in device[WARM_UPS:]) / 1e6:.3f})"


def _stamped(strategy: Any, request: Request) -> Iterator[tuple[int, int]]:
    clock = HostClock()
    began_ns = clock.now_ns()
    for chunk in strategy.stream(request):
        yield chunk.token_ids[0], clock.now_ns() - began_ns


def _same(
    prompt: tuple[int, ...], alone: list[int] | None, ids: list[int], logits: dict[tuple[int, ...], Any], tie: float
) -> str:
    if alone is None:
        return "not compared (measure 1 first)"
    step = next((index for index, pair in enumerate(zip(alone, ids, strict=True)) if pair[0] != pair[1]), None)
    if step is None:
        return "the same as on one"
    row = logits[(*prompt, *alone[:step])]
    best = row.topk(2).values
    gap = float((best[0] - best[1]) / row.abs().max())
    kind = "the same up to a tie" if gap <= tie else "OTHERS"
    return f"{kind} at step {step}, where the two likeliest are {100 * gap:.2f} % of the largest logit apart"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--strategy", default="eager")
    parser.add_argument("--ranks", default="1,2")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--prompt-lengths", default="10,100,400")
    parser.add_argument("--output-tokens", type=int, default=32)
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--tie", type=float, default=0.01)
    return parser.parse_args()


if __name__ == "__main__":
    main()
