"""Engines give what eager gives, are captured, built once, found again, and refused where they do not fit."""

import json

import pytest
import torch

from perfsuite.core.errors import OptionError, StrategyUnavailableError
from perfsuite.core.workload import DEFAULT_SAMPLING, ModelSpec, SamplingParams
from perfsuite.measure.opening import opened, use_engines
from perfsuite.measure.strategy import Ability, KeepsEngines
from perfsuite.strategies._engine_folder import DECODE, MANIFEST
from perfsuite.strategies.eager import EagerStrategy
from perfsuite.strategies.tensorrt import TensorRTStrategy, build_folder
from tests.strategies.contract import ENGINES_RUN, WHY_NO_ENGINES
from tests.strategies.families import STATIC, small_model
from tests.strategies.test_jit import TOLERANCE, answer, assert_same_up_to_ties, invalid, request, workload

TINY = ModelSpec(name="tiny")
FLAT = SamplingParams(temperature=1e6)

on_gpu = pytest.mark.skipif(not ENGINES_RUN, reason=WHY_NO_ENGINES)


def test_without_a_gpu_it_is_unavailable():
    with (
        pytest.raises(StrategyUnavailableError, match="tensorrt needs an NVIDIA GPU"),
        opened(TensorRTStrategy(), ModelSpec(name="tiny", device="cpu"), (workload(),)),
    ):
        pass


def test_building_without_a_gpu_is_unavailable(tmp_path):
    with pytest.raises(StrategyUnavailableError, match="tensorrt needs an NVIDIA GPU"):
        list(build_folder(ModelSpec(name="tiny", device="cpu"), (1,), 64, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_open_says_so():
    strategy = TensorRTStrategy()
    for ask in (strategy.facts, strategy.evidence, strategy.memory, lambda: strategy.next_token_logits(((1,),))):
        with pytest.raises(RuntimeError, match="not open"):
            ask()


def test_it_quantizes_nothing_and_keeps_engines():
    assert Ability.QUANTIZATION not in TensorRTStrategy.abilities
    assert isinstance(TensorRTStrategy(), KeepsEngines)
    assert not isinstance(EagerStrategy(), KeepsEngines)


def test_a_strategy_without_engines_is_not_told_where_they_are(tmp_path):
    use_engines(EagerStrategy(), str(tmp_path))


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", ["tiny", *STATIC])
def test_greedy_tokens_are_those_of_eager_up_to_ties(tmp_path, kind, dtype):
    if kind != "tiny":
        small_model(kind).save_pretrained(tmp_path)
    spec = ModelSpec(name=kind if kind == "tiny" else str(tmp_path), dtype=dtype)
    with (
        opened(TensorRTStrategy(), spec, (workload(40), workload(7), workload(20, rows=4))) as engines,
        opened(EagerStrategy(), spec) as eager,
    ):
        for asked in (request(40), request(7), request(20, rows=4), request(23), request(1)):
            assert_same_up_to_ties(engines, eager, asked, TOLERANCE[dtype])
        assert invalid(engines) == ()


@pytest.fixture(scope="module")
def tiny():
    with opened(TensorRTStrategy(), TINY, (workload(sampling=FLAT),)) as strategy:
        yield strategy


@pytest.mark.gpu
@on_gpu
def test_every_step_is_a_replay_of_engines_that_hold_the_whole_model(tiny):
    replayed = tiny.evidence().graphs_replayed
    for _ in range(3):
        answer(tiny, request(output_tokens=8, sampling=FLAT))
    evidence = tiny.evidence()
    assert (evidence.engines, evidence.graphs_captured) == (2, 2)
    assert evidence.graphs_replayed - replayed == 24
    assert evidence.note("nodes in engines").endswith(", left to PyTorch: none")
    assert evidence.notes[-1] == "passes prepared after opening: 0"


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("sampling", [FLAT, DEFAULT_SAMPLING], ids=["flat", "default"])
def test_the_same_seed_repeats_itself_whatever_came_between(tiny, sampling):
    asked = request(sampling=sampling)
    expected = answer(tiny, asked)
    answer(tiny, request(output_tokens=3, sampling=SamplingParams(temperature=1e6, seed=7)))
    assert answer(tiny, asked) == expected


def phases_of(strategy, workloads):
    try:
        return list(strategy.open(TINY, workloads)), strategy.evidence()
    finally:
        strategy.close()


@pytest.mark.gpu
@on_gpu
def test_engines_are_built_once_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cold, built = phases_of(TensorRTStrategy(), (workload(),))
    warm, found = phases_of(TensorRTStrategy(), (workload(),))
    assert cold == ["load", "build engines", "load engines", "capture"]
    assert warm == ["load", "load engines", "capture"]
    assert built.note("engine cache").startswith("cold, built in ")
    assert found.note("engine cache").startswith("warm, built in ")


@pytest.fixture
def folder(tmp_path):
    (line,) = build_folder(TINY, (1,), 64, tmp_path)
    assert line.startswith(f"built {tmp_path}/b1-c64: prefill.engine ")
    return tmp_path


def refused(folder, *workloads):
    strategy = TensorRTStrategy()
    strategy.keep_engines_in(folder)
    with pytest.raises(OptionError) as caught, opened(strategy, TINY, workloads):
        pass
    assert "perfsuite build-engine --model tiny" in str(caught.value)
    return str(caught.value)


@pytest.mark.gpu
@on_gpu
def test_a_named_folder_is_used_and_never_built_into(folder):
    strategy = TensorRTStrategy()
    strategy.keep_engines_in(folder)
    phases, evidence = phases_of(strategy, (workload(),))
    assert phases == ["load", "load engines", "capture"]
    assert evidence.engines == 2
    assert "batch 4 with 64 is needed" in refused(folder, workload(rows=4))


@pytest.mark.gpu
@on_gpu
def test_a_named_folder_of_another_gpu_is_refused(folder):
    file = folder / "b1-c64" / MANIFEST
    data = json.loads(file.read_text())
    data["identity"]["gpu"] = "NVIDIA A100"
    file.write_text(json.dumps(data))
    assert "were built for GPU 'NVIDIA A100', here it is " in refused(folder, workload())


@pytest.mark.gpu
@on_gpu
def test_a_damaged_engine_is_refused(folder):
    file = folder / "b1-c64" / DECODE
    file.write_bytes(file.read_bytes()[:-100])
    assert "is damaged" in refused(folder, workload())


@pytest.mark.gpu
@on_gpu
def test_closing_gives_the_memory_back():
    held = []
    for _ in range(3):
        with opened(TensorRTStrategy(), TINY, (workload(),)) as strategy:
            answer(strategy, request())
        held.append(torch.cuda.memory_allocated())
    assert held[1] == held[2]  # the first leaves the libraries' workspace behind
