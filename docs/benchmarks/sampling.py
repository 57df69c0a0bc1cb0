"""Counts how often `assert_valid_sampler` refuses samplers that are right and samplers that are wrong.

python docs/benchmarks/sampling.py            # the table of sampling.md, some minutes on one core
python docs/benchmarks/sampling.py --runs 20  # a quick look
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from perfsuite.core.workload import SamplingParams, Workload
from perfsuite.measure.endings import check_endings
from perfsuite.measure.inquiry import Effort
from perfsuite.measure.live_check import check_strategy
from perfsuite.measure.sampling import check_sampling
from perfsuite.testing import InvalidSamplerError, Sampler, assert_valid_sampler
from tests.sampled import WRONG, WRONG_AT_THE_END, Sampled
from tests.samplers import BROKEN, CORRECT

CORRECT_FACTOR = 10
"""A correct sampler is tried so many times as often as a broken one."""


def verdict(make: Callable[[], Sampler], seed: int) -> str | None:
    """The first line of evidence, `None` if the sampler was not refused."""
    try:
        assert_valid_sampler(make(), seed=seed)
    except InvalidSamplerError as error:
        return str(error).splitlines()[-1].strip()
    return None


def row(name: str, make: Callable[[], Sampler], seeds: range) -> str:
    started = time.perf_counter()
    found = [verdict(make, seed) for seed in seeds]
    each_ms = (time.perf_counter() - started) / len(seeds) * 1000
    said = next((text for text in found if text), "")
    return f"| {name} | {sum(text is not None for text in found)} of {len(seeds)} | {each_ms:.0f} ms | {said} |"


def session_row(strategy: type[Sampled], seeds: range) -> str:
    """How often the check that every session makes finds something."""
    checks = [check_sampling(strategy(), _workload(seed), Effort()) for seed in seeds]
    return f"| {strategy.__name__} | {sum(bool(check.problems) for check in checks)} of {len(seeds)} |"


def ending_row(strategy: type[Sampled], seeds: range) -> str:
    """How often the check of ends finds something, or reaches no end, at batch 1 and 4."""
    checks = [
        check_endings(strategy(), replace(_workload(seed), batch_size=batch)) for seed in seeds for batch in (1, 4)
    ]
    found, unchecked = (
        sum(map(bool, each)) for each in zip(*[(c.problems, c.not_checked) for c in checks], strict=True)
    )
    return f"| {strategy.__name__} | {found} of {len(checks)} | {unchecked} |"


def examination_row(strategy: type[Sampled], seeds: range) -> str:
    """How often the whole examination of a live strategy finds something, or leaves something open."""
    checks = [check_strategy(strategy(), _workload(seed)) for seed in seeds]
    found, still_open = (sum(map(bool, each)) for each in zip(*[(c.problems, c.open) for c in checks], strict=True))
    return f"| {strategy.__name__} | {found} of {len(checks)} | {still_open} |"


def _workload(seed: int) -> Workload:
    sampling = SamplingParams(temperature=0.9, top_k=20, top_p=0.8, repetition_penalty=1.5, seed=seed)
    return Workload(prompt_tokens=12, output_tokens=12, batch_size=4, sampling=sampling, seed=seed)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    torch.set_num_threads(1)
    _say("| sampler | refused | one run | evidence of the first run |\n|---|---|---|---|")
    for name, make in CORRECT.items():
        _say(row(f"{name} (correct)", make, range(runs * CORRECT_FACTOR)))
    for name, make in BROKEN.items():
        _say(row(name, make, range(runs)))
    _say("\n| strategy | found by a session |\n|---|---|")
    _say(session_row(Sampled, range(runs)))
    for strategy in WRONG:
        _say(session_row(strategy, range(runs // 5)))
    _say("\n| strategy | found by its ends | no end reached |\n|---|---|---|")
    _say(ending_row(Sampled, range(runs * CORRECT_FACTOR)))
    for strategy in WRONG_AT_THE_END:
        _say(ending_row(strategy, range(runs)))
    _say("\n| strategy | found by the examination | left open |\n|---|---|---|")
    _say(examination_row(Sampled, range(runs)))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
