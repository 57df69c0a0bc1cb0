"""Owns what the tests of several ranks share: models in folders, strategies on a CPU, and processes that follow."""

import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from perfsuite.core.engine import EngineOptions
from perfsuite.core.errors import DeviceMemoryError, ModelLoadError
from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.recording import Evidence
from perfsuite.core.sample import Request
from perfsuite.core.workload import ModelSpec, SamplingParams, Workload
from perfsuite.measure.launcher import run_session
from perfsuite.measure.opening import create, opened
from perfsuite.measure.session import SessionJob
from perfsuite.strategies._compile import Regions
from perfsuite.strategies._fusion import fuse_projections, keep_rotations
from perfsuite.strategies._halves import halve_deep_products
from perfsuite.strategies._kernel_attention import use_kernel_attention
from perfsuite.strategies._one_row import join_one_row
from perfsuite.strategies._skinny import SkinnyLinear, use_skinny_products
from perfsuite.strategies._static_step import StaticStep
from perfsuite.strategies._static_strategy import StaticStrategy
from perfsuite.strategies._turning_attention import turn_within_attention
from perfsuite.strategies.cuda_graph import CudaGraphStrategy
from perfsuite.strategies.eager import EagerStrategy
from perfsuite.strategies.jit import JitStrategy
from tests.strategies.families import small_model
from tests.strategies.tracing import traced_only

EAGER, JIT = "perfsuite.strategies.eager:EagerStrategy", "perfsuite.strategies.jit:JitStrategy"
UNCAPTURED_JIT = "tests.strategies.ranks:UncapturedJit"
TRACED_JIT, TRACED_UNCAPTURED_JIT = "tests.strategies.ranks:TracedJit", "tests.strategies.ranks:TracedUncapturedJit"
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
        self._regions = Regions(rewrites=(turn_within_attention, halve_deep_products, join_one_row))
        return StaticStep(model, self._regions.prepare, self._regions.compile)

    def counts(self):
        return self._regions.evidence()


class _Traced:
    """On every rank its passes are compiled no further than traced."""

    def open(self, model, workloads):
        with pytest.MonkeyPatch.context() as patch:
            traced_only(patch)
            yield from super().open(model, workloads)


class TracedJit(_Traced, JitStrategy):
    """Its passes are checked and kept, and no code is generated for them."""


class TracedUncapturedJit(_Traced, UncapturedJit):
    """Its passes are checked and kept, and no code is generated for them."""


class Uncaptured(StaticStrategy):
    """What cuda-graph captures, run as it is."""

    name, getting_ready = "uncaptured", "nothing"

    def make_step(self, model, device):
        return StaticStep(model)

    def counts(self):
        return Evidence()


def spec_of(name, ranks, device="cpu", **others):
    return ModelSpec(name=str(name), device=device, engine=EngineOptions(tensor_parallel_size=ranks), **others)


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


def session_of(strategy, *, device="cpu", output_tokens=2, is_checked=False):
    """A session of two cells, of prompts of 10 and of 20 tokens."""
    cells = tuple(
        Cell(
            strategy="eager",
            model=spec_of("tiny", 2, device=device),
            workload=Workload(prompt_tokens=tokens, output_tokens=output_tokens),
        )
        for tokens in (10, 20)
    )
    measure = MeasureOptions(samples=2, decode_samples=1, warmup=1, monitor=False)
    job = SessionJob(
        reference=strategy,
        cells=cells,
        session=next(seed for seed in range(9) if np.random.default_rng(seed).permutation(2)[0] == 0),  # 10 comes first
        measure=measure,
        import_path=tuple(sys.path),
        is_checked=is_checked,
    )
    return run_session(job, lambda _: None)


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


class _Kills:
    """Kills the other rank in the middle of the first sample of prompts of 20 tokens, which follows two warm-ups."""

    asked = 0

    def _stream(self, request):
        self.asked += len(request.prompts[0]) == 20
        for chunk in super()._stream(request):
            if self._team and self.asked == 3:
                os.kill(followers_of(self)[0], signal.SIGKILL)
            yield chunk


class KillsItsFollowerAt20(_Kills, EagerStrategy):
    """In the middle of kernels that are launched one after the other."""


class KillsItsFollowerInAGraphAt20(_Kills, CudaGraphStrategy):
    """In the middle of replays."""


class BreaksOffOnRank1(EagerStrategy):
    """Rank 1 has no room for the second step of a request, and the others wait for it there."""

    def _stream(self, request):
        for index, chunk in enumerate(super()._stream(request)):
            if self.seat.rank and index:
                raise DeviceMemoryError("cuda:1 is out of memory; lower the batch size")
            yield chunk
