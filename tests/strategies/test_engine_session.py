"""A whole session with an engine's double: what it measures, and what is left of it when the engine dies."""

import pytest

from perfsuite.core.matrix import Cell
from perfsuite.core.options import MeasureOptions
from perfsuite.core.recording import Environment
from perfsuite.core.sample import Phase
from perfsuite.core.validity import problems
from perfsuite.core.workload import ModelSpec, Workload
from perfsuite.measure import environment
from perfsuite.measure.session import SessionJob
from perfsuite.measure.worker import run_job
from perfsuite.strategies import BUILTIN, _engine
from tests.strategies import tensorrt_llm_double, vllm_double
from tests.strategies.drawing import drawing

CELLS = tuple(
    Cell(strategy="engine", model=ModelSpec(name="tiny", device="cuda"), workload=workload)
    for workload in (Workload(prompt_tokens=10, output_tokens=4), Workload(prompt_tokens=20, output_tokens=4))
)
MEASURE = MeasureOptions(samples=8, decode_samples=4, block_size=2, warmup=1)
DOUBLES = {"vllm": vllm_double, "tensorrt-llm": tensorrt_llm_double}


@pytest.fixture(params=DOUBLES)
def name(request):
    return request.param


@pytest.fixture
def double(name, monkeypatch):
    monkeypatch.setattr(_engine, "has_gpu", lambda: True)
    here = Environment(device="a GPU", must_agree={}, noted={})
    monkeypatch.setattr(environment, "collect", lambda facts, measure: here)
    for module in ("vllm", "tensorrt_llm"):
        monkeypatch.setenv(f"PERFSUITE_{module.upper()}_ARGS", "")
    monkeypatch.setenv("TRTLLM_NO_USAGE_STATS", "0")
    return DOUBLES[name].install(monkeypatch)


def session(name):
    events = []
    run_job(SessionJob(reference=BUILTIN[name], cells=CELLS, session=0, measure=MEASURE), events.append)
    return events


def test_a_session_measures_all_its_cells(name, double):
    double.draw = staticmethod(drawing())
    *_, last = session(name)
    assert [problems(recording) for recording in last.recordings] == [(), ()]
    for recording in last.recordings:
        assert [phase.name for phase in recording.startup] == ["import", "build", "first call"]
        assert [sample.tokens for sample in recording.of_phase(Phase.DECODE)] == [(1, 1, 1, 1)] * 4
        assert all(sample.device_ns is None for sample in recording.samples)
        assert (recording.evidence.engines, recording.evidence.cached_prefix_hits) == (1, 0)


def test_an_engine_that_draws_anything_makes_a_session_invalid_where_its_sampling_can_be_checked(name, double):
    first = session(name)[-1].recordings[0]
    applies_all = name == "vllm"  # 1.2.1 of the other does not claim a repetition penalty
    assert any("its tokens are no legal sample" in problem for problem in problems(first)) is applies_all
    assert (first.sampling.not_checked is None) is applies_all


def test_a_session_whose_prompts_were_in_a_cache_is_invalid(name, double):
    double.cached = double.reused = 1
    (first, _) = session(name)[-1].recordings
    assert any("prompts were answered from a cached prefix" in problem for problem in problems(first))


def test_an_engine_that_dies_in_the_middle_leaves_what_was_measured_and_counted_failures(name, double):
    double.ends = dict.fromkeys(range(25, 10_000), RuntimeError("EngineCore encountered an issue.\nSee above."))
    recordings = session(name)[-1].recordings
    assert sum(len(recording.samples) + len(recording.warmups) for recording in recordings) > 0
    assert [len(recording.failures) for recording in recordings] == [3, 3]
    assert recordings[0].failures[0].message == "RuntimeError: EngineCore encountered an issue."
    assert all(problems(recording) for recording in recordings)


def test_an_engine_that_does_not_start_says_why(name, double):
    double.startup_error = RuntimeError("CUDA out of memory. Tried to allocate 3 GiB.")
    *_, last = session(name)
    assert last.broken.endswith("lower --perf-gpu-memory-utilization or --perf-max-model-len, or free the GPU")
