"""vLLM itself, with the embedded model in float32: the tokens that eager gives, drawn as asked, all of it engaged."""

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from perfsuite.core.engine import EngineOptions
from perfsuite.core.workload import ModelSpec, SamplingParams, Workload
from perfsuite.measure.inquiry import Effort
from perfsuite.measure.opening import opened
from perfsuite.measure.sampling import check_sampling
from perfsuite.strategies.eager import EagerStrategy
from perfsuite.strategies.vllm import ARGUMENTS_VARIABLE, VllmStrategy
from tests.strategies.contract import answer, request

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.skipif(find_spec("vllm") is None, reason="needs vllm"),
]
TINY = ModelSpec(name="tiny", dtype="float32", engine=EngineOptions(gpu_memory_utilization=0.1))
DRAWN = Workload(
    prompt_tokens=16,
    output_tokens=4,
    sampling=SamplingParams(temperature=0.6, top_k=5, top_p=0.8, repetition_penalty=1.5),
)


@pytest.fixture(scope="module")
def engine():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ARGUMENTS_VARIABLE, '{"kernel_config": {"enable_flashinfer_autotune": false}}')
        with opened(VllmStrategy(), TINY, (DRAWN, Workload(prompt_tokens=16, output_tokens=16, batch_size=3))) as live:
            yield live


@pytest.mark.parametrize("batch", [1, 3])
def test_greedy_tokens_are_those_of_eager(engine, batch):
    asked = request(batch, output_tokens=16)
    with opened(EagerStrategy(), replace(TINY, device="cpu")) as eager:
        assert answer(engine, asked) == answer(eager, asked)


def test_a_seed_is_honoured(engine):
    flat = request(output_tokens=16, sampling=SamplingParams(temperature=2.0, seed=5))
    assert answer(engine, flat) == answer(engine, flat)
    other = replace(flat, sampling=replace(flat.sampling, seed=6))
    assert answer(engine, flat) != answer(engine, other)


def test_its_first_tokens_are_held_against_eager_on_the_same_weights(engine):
    found = check_sampling(engine, DRAWN, Effort(requests=24))
    assert (found.problems, found.not_checked) == ((), None)
    assert {"top-k is ignored", "the penalty is ignored", "temperature is ignored"} <= set(found.told)


def test_its_evidence_says_what_ran(engine):
    evidence = engine.evidence()
    assert evidence.engines == 1
    assert evidence.graphs_captured
    assert evidence.cached_prefix_hits == 0
