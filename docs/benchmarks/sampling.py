"""Counts how often `assert_valid_sampler` refuses samplers that are right and samplers that are wrong.

python docs/benchmarks/sampling.py            # the table of sampling.md, some minutes on one core
python docs/benchmarks/sampling.py --runs 20  # a quick look
"""

import sys
import time
from collections.abc import Callable

import torch

from perfsuite.core.workload import SamplingParams, Workload
from perfsuite.measure.inquiry import Effort
from perfsuite.measure.sampling import check_sampling
from perfsuite.testing import InvalidSamplerError, Sampler, assert_valid_sampler
from tests.sampled import WRONG, Sampled
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


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
