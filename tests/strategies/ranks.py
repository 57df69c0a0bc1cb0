"""Owns what the tests of several ranks share: models in folders, strategies on a CPU, and processes that follow."""

import os
import signal
from contextlib import contextmanager
from pathlib import Path

from perfsuite.core.engine import EngineOptions
from perfsuite.core.errors import ModelLoadError
from perfsuite.core.sample import Request
from perfsuite.core.workload import ModelSpec, SamplingParams, Workload
from perfsuite.measure.strategy import create, opened
from perfsuite.strategies._compile import Regions
from perfsuite.strategies._fusion import fuse_projections, keep_rotations
from perfsuite.strategies._halves import halve_deep_products
from perfsuite.strategies._kernel_attention import use_kernel_attention
from perfsuite.strategies._skinny import SkinnyLinear, use_skinny_products
from perfsuite.strategies._static_step import StaticStep
from perfsuite.strategies._static_strategy import StaticStrategy
from perfsuite.strategies._turning_attention import turn_within_attention
from perfsuite.strategies.eager import EagerStrategy
from tests.strategies.families import small_model

EAGER, JIT = "perfsuite.strategies.eager:EagerStrategy", "perfsuite.strategies.jit:JitStrategy"
UNCAPTURED_JIT = "tests.strategies.ranks:UncapturedJit"
PROMPT = tuple(range(40, 60))
WORKLOAD = Workload(prompt_tokens=len(PROMPT), output_tokens=8)


class UncapturedJit(StaticStrategy):
    """What jit-cuda-graph captures, run as it is; its products by the layers that it takes, in float32 as well."""

    name, getting_ready = "uncaptured-jit", "compile"

    def make_step(self, model, device):
        fuse_projections(model)
        use_skinny_products(model)
        use_kernel_attention(model)
        keep_rotations(model)
        self.skinny = sum(isinstance(each, SkinnyLinear) for each in model.modules())
        self._regions = Regions(rewrites=(turn_within_attention, halve_deep_products))
        return StaticStep(model, self._regions.prepare, self._regions.compile)

    def counts(self):
        return self._regions.evidence()


def spec_of(name, ranks, **others):
    return ModelSpec(name=str(name), device="cpu", engine=EngineOptions(tensor_parallel_size=ranks), **others)


@contextmanager
def opened_on(ranks, name="tiny", reference=EAGER, **others):
    """A strategy whose model is split over so many ranks."""
    with opened(create(reference), spec_of(name, ranks, **others), (WORKLOAD,)) as strategy:
        yield strategy


def tokens_of(strategy, prompts=(PROMPT,), output_tokens=8, **sampling):
    request = Request(prompts=prompts, output_tokens=output_tokens, sampling=SamplingParams(**sampling))
    chunks = list(strategy.stream(request))
    return [[chunk.token_ids[0] for chunk in chunks if chunk.row == row] for row in range(len(prompts))]


def saved_model(folder, kind):
    """A small model of an architecture, with its weights, in a folder."""
    small_model(kind).save_pretrained(folder)
    return folder


def followers_of(strategy):
    """The ids of the processes that follow."""
    return [process.pid for process in strategy._team._followers._processes]


def is_alive(pid):
    """Whether a process is there, and no mere zombie that nobody has waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return not stat.parent.parent.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class OpensAloneOnly(EagerStrategy):
    """Fails on every rank but that which answers."""

    def open(self, model, workloads):
        if self.seat.rank:
            raise ModelLoadError("there is no model on this side")
        yield from super().open(model, workloads)


class KillsItsFollowerAt20(EagerStrategy):
    """Kills the other rank in the middle of the first sample of prompts of 20 tokens, which follows two warm-ups."""

    asked = 0

    def _stream(self, request):
        self.asked += len(request.prompts[0]) == 20
        for chunk in super()._stream(request):
            if self._team and self.asked == 3:
                os.kill(followers_of(self)[0], signal.SIGKILL)
            yield chunk
