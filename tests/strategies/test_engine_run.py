"""Engines get what a pass needs, and what they give is kept where the next pass finds it."""

import pytest
import torch

from perfsuite.core.sample import Request
from perfsuite.core.workload import SamplingParams, Workload
from perfsuite.strategies._decode import Decoder, SampledStep
from perfsuite.strategies._engine_build import Shape, example
from perfsuite.strategies._engine_passes import EnginePass, weights_of
from perfsuite.strategies._engine_run import EngineForward
from perfsuite.strategies._fusion import fuse_projections
from perfsuite.strategies._static import layer_count
from perfsuite.strategies.eager import EagerForward
from perfsuite.strategies.tensorrt import _EngineStep
from tests.strategies.families import STATIC, small_model

GREEDY = SamplingParams(temperature=0)
CPU = torch.device("cpu")


class TorchEngines:
    """Stands where a pair of engines stands: computes with torch what they were built from."""

    class Kernels:
        specialise = True

    def __init__(self, model, length):
        self.kernels = self.Kernels()
        self._model, self._length = model, length
        self.made = []

    def prefill(self):
        return self._bound("prefill", cached=0)

    def decode(self):
        return self._bound("decode", cached=2 * layer_count(self._model))

    def _bound(self, name, cached):
        self.made.append(name)
        return TorchBound(EnginePass(self._model, layer_count(self._model), self._length), self._model, cached)


class TorchBound:
    def __init__(self, engine_pass, model, cached):
        self._pass, self._model, self._cached = engine_pass, model, cached

    def run(self, inputs, outputs):
        ids, positions, *rest = inputs
        assert all(tensor.is_contiguous() for tensor in (*inputs, *outputs))  # TensorRT sees addresses, no strides
        named = dict(zip(weights_of(self._model), rest[self._cached :], strict=True))
        found = self._pass(ids, positions, rest[: self._cached], named)
        for ours, theirs in zip(outputs, found, strict=True):
            ours.copy_(theirs)


@pytest.fixture
def forward_of():
    def make(model, rows=1, length=64):
        shape = Shape(rows=rows, length=length)
        return EngineForward(TorchEngines(model, length), length, example(model, shape), weights_of(model))

    return make


def request(tokens=20, output_tokens=8, rows=1, sampling=GREEDY):
    drawn = torch.randint(3, 250, (rows, tokens), generator=torch.Generator().manual_seed(tokens)).tolist()
    return Request(prompts=tuple(map(tuple, drawn)), output_tokens=output_tokens, sampling=sampling, ignore_eos=True)


def tokens_of(step, asked):
    return [chunk.token_ids for chunk in Decoder(step, CPU, ()).stream(asked)]


@pytest.mark.parametrize("kind", STATIC)
@pytest.mark.parametrize("rows", [1, 3])
@torch.no_grad()
def test_passes_over_its_cache_are_those_of_the_model(forward_of, kind, rows):
    model = small_model(kind)
    ids = torch.randint(3, 250, (rows, 24), generator=torch.Generator().manual_seed(1))
    expected = model(ids).logits
    forward = forward_of(model, rows)
    for prompt in (20, 9):  # the second finds what the first has left
        assert torch.allclose(forward.prefill(ids[:, :prompt].contiguous()), expected[:, prompt - 1], atol=1e-4)
        for position in range(prompt, 24):
            logits = forward.decode(ids[:, position : position + 1].contiguous())
            assert torch.allclose(logits, expected[:, position], atol=1e-4)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_step_of_engines_answers_as_eager_does(forward_of, rows):
    class Library:
        def forward(self, rows, length):
            return forward_of(model, rows, length)

    model = small_model("llama")
    asked = request(rows=rows)
    expected = tokens_of(SampledStep(EagerForward(model), CPU), asked)
    fuse_projections(model)
    step = _EngineStep(model, Library(), lambda run, _: run)
    step.expect([Workload(prompt_tokens=20, output_tokens=8, batch_size=rows, sampling=GREEDY)])
    assert tokens_of(step, asked) == expected
    assert step.note() == "static cache: 64 positions"


def test_each_length_that_is_made_ready_has_a_context_of_its_own_and_all_others_share_one(forward_of):
    forward = forward_of(small_model("llama"))
    made = forward._engines.made
    forward.prefill(torch.ones(1, 5, dtype=torch.int64))
    forward.prefill(torch.ones(1, 6, dtype=torch.int64))
    forward.prefill(torch.ones(1, 5, dtype=torch.int64))
    assert made == ["prefill", "prefill"]
    forward._engines.kernels.specialise = False
    forward.prefill(torch.ones(1, 7, dtype=torch.int64))
    forward.prefill(torch.ones(1, 8, dtype=torch.int64))
    assert made == ["prefill"] * 3


def test_what_the_cache_takes_is_known(forward_of):
    forward = forward_of(small_model("llama"), rows=2)
    states = 2 * 2 * (2 * 2 * 64 * 8) * 4  # keys and values of two layers: rows x heads x positions x D, float32
    assert forward.cache_bytes == 2 * states  # the cache, and the states of a prompt as they come out
