"""docs/benchmarks/vllm_loop.py, against the double of vLLM: the loop's requests are the recorder's, on one engine."""

import runpy
from itertools import groupby

import pytest

from perfsuite.strategies import _engine
from perfsuite.strategies.vllm import ARGUMENTS_VARIABLE
from tests.docs.blocks import ROOT
from tests.strategies import vllm_double
from tests.strategies.vllm_double import RequestOutputKind


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(_engine, "has_gpu", lambda: True)
    monkeypatch.setenv(ARGUMENTS_VARIABLE, "")
    return runpy.run_path(str(ROOT / "docs" / "benchmarks" / "vllm_loop.py"))


def asked_of(engine):
    """What was asked and by which loop, in order."""
    return [(tuple(ids), params.max_tokens, params.seed, params.output_kind) for ids, params in engine.asked]


def test_every_request_is_recorded_and_asked_by_the_loop_of_the_same_engine(script, monkeypatch, capsys):
    double = vllm_double.install(monkeypatch)
    script["main"](["20", "tiny", "0.3"])
    (engine,) = double.built
    assert engine.values["gpu_memory_utilization"] == 0.3
    pairs = [list(same) for _, same in groupby(asked_of(engine), key=lambda each: each[:3])]
    assert all({kind for *_, kind in pair} == {RequestOutputKind.DELTA, RequestOutputKind.FINAL_ONLY} for pair in pairs)
    assert {len(pair) for pair in pairs} == {2}
    first = [pair[0][3] for pair in pairs[:4]]
    assert first == [RequestOutputKind.FINAL_ONLY, RequestOutputKind.DELTA] * 2
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if "n = " in line] == [
        f"tiny, prompt {length}, n = 20, 5 of each" for length in (10, 100, 400)
    ]
    assert sum(" recorded, " in line for line in said) == 9
    assert said[-1].startswith("vLLM 0.25.1; CUDA graphs: FULL_AND_PIECEWISE")


def test_a_ratio_has_an_interval_around_it(script, capsys):
    import numpy as np

    spread = np.linspace(0.99, 1.01, 40)
    phase, full = script["Phase"].PREFILL, script["Phase"].DECODE
    taken = {
        phase: np.column_stack([10 * spread, 10 * spread[::-1]]),
        full: np.column_stack([110 * spread, 100 * spread]),
    }
    low, high = script["interval"](script["ttft"], taken)
    assert low < 1 < high
    assert script["interval"](script["e2e"], taken)[0] == pytest.approx(1.1)
    assert script["tpot"](taken) == pytest.approx([100 / 15, 90 / 15])


def test_a_request_that_breaks_ends_it_in_one_line(script, monkeypatch):
    double = vllm_double.install(monkeypatch)
    double.ends = {9: RuntimeError("EngineCore encountered an issue.")}
    with pytest.raises(SystemExit, match="a request broke: RuntimeError: EngineCore encountered an issue"):
        script["main"](["4", "tiny"])
