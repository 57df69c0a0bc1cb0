"""What TensorRT-LLM is asked, how its responses become chunks, what is said where it cannot run; against a double."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from perfsuite.core.engine import EngineOptions
from perfsuite.core.errors import DeviceMemoryError, ModelLoadError, OptionError, StrategyUnavailableError
from perfsuite.core.recording import Memory
from perfsuite.core.sample import Request
from perfsuite.core.workload import ModelSpec, SamplingParams, Workload
from perfsuite.measure.opening import opened
from perfsuite.measure.strategy import ALL_SAMPLING, Ability
from perfsuite.models.presets import packaged_weights
from perfsuite.strategies import _engine
from perfsuite.strategies.tensorrt_llm import ARGUMENTS_VARIABLE, SETTINGS, TensorRTLLMStrategy
from tests.strategies import tensorrt_llm_double
from tests.strategies.contract import answer, request, rows

TINY = ModelSpec(name="tiny", device="cuda")
WORKLOADS = (Workload(prompt_tokens=10, output_tokens=5), Workload(prompt_tokens=100, output_tokens=9, batch_size=3))
VERSIONS = ({"version": "1.2.1"}, {"version": "1.4.0rc1", "has_engine_backend": False})


@pytest.fixture(autouse=True)
def a_gpu(monkeypatch):
    monkeypatch.setattr(_engine, "has_gpu", lambda: True)
    for name in (*SETTINGS, ARGUMENTS_VARIABLE):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture(params=VERSIONS, ids=lambda version: version["version"])
def llm(request, monkeypatch):
    return tensorrt_llm_double.install(monkeypatch, **request.param)


def live(model=TINY, workloads=WORKLOADS):
    return opened(TensorRTLLMStrategy(), model, workloads)


def refused(model=TINY, error=StrategyUnavailableError):
    with pytest.raises(error) as caught, live(model):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_is_started_with_what_was_asked_for(llm):
    options = EngineOptions(tensor_parallel_size=2, gpu_memory_utilization=0.5, max_model_len=512)
    with live(replace(TINY, dtype="bfloat16", engine=options)):
        values = llm.built[0].values
    assert values.pop("kv_cache_config").values == {"enable_block_reuse": False, "free_gpu_memory_fraction": 0.5}
    assert values.pop("cuda_graph_config").values == {"batch_sizes": [1, 3]}
    assert values == {
        "model": str(packaged_weights(TINY).parent),
        "skip_tokenizer_init": True,
        "tensor_parallel_size": 2,
        "dtype": "bfloat16",
        "load_format": "auto",
        "revision": None,
        "trust_remote_code": False,
        "stream_interval": 1,
        "max_batch_size": 3,
        "max_seq_len": 512,
        "max_num_tokens": 8192,
    }


def test_telemetry_is_off_unless_the_environment_says_otherwise(llm, monkeypatch):
    with live():
        assert os.environ["TRTLLM_NO_USAGE_STATS"] == "1"
    monkeypatch.setenv("TRTLLM_NO_USAGE_STATS", "0")
    with live():
        assert os.environ["TRTLLM_NO_USAGE_STATS"] == "0"


def test_a_preset_that_is_a_shape_is_started_with_dummy_weights(llm):
    with live(ModelSpec(name="llama-2-7b", device="cuda")) as strategy:
        assert llm.built[0].values["load_format"] == "dummy"
        assert strategy.facts().vocabulary == 32000


def test_a_request_is_passed_through_one_to_one(llm):
    sampling = SamplingParams(temperature=0.5, top_k=7, top_p=0.8, repetition_penalty=1.2, seed=11)
    with live() as strategy:
        list(strategy.stream(Request(prompts=((1, 2, 3),), output_tokens=4, sampling=sampling)))
        ((ids, params),) = llm.built[0].asked
    assert ids == [1, 2, 3]
    assert vars(params) == {
        "max_tokens": 4, "temperature": 0.5, "top_k": 7, "top_p": 0.8, "repetition_penalty": 1.2, "seed": 11,
        "end_id": 257, "pad_id": 257, "ignore_eos": True, "detokenize": False, "return_perf_metrics": True,
    }  # fmt: skip


def test_what_is_off_is_left_out_and_greedy_is_a_top_k_of_1(llm):
    with live() as strategy:
        list(strategy.stream(request(sampling=SamplingParams())))
        list(strategy.stream(request(sampling=SamplingParams(temperature=0))))
        (_, plain), (_, greedy) = llm.built[0].asked
    assert (plain.top_k, plain.repetition_penalty, plain.is_greedy) == (None, None, False)
    assert (greedy.top_k, greedy.temperature, greedy.is_greedy) == (1, None, True)


@pytest.mark.parametrize(
    ("version", "is_applied"), [("1.2.1", False), ("1.3.0rc25", False), ("1.3.0rc26", True), ("1.4.0rc1", True)]
)
def test_a_repetition_penalty_is_claimed_from_the_version_on_that_applies_it(monkeypatch, version, is_applied):
    tensorrt_llm_double.install(monkeypatch, version)
    with live() as strategy:
        assert (Ability.REPETITION_PENALTY in strategy.abilities) is is_applied
        assert strategy.abilities >= (ALL_SAMPLING | {Ability.BATCH, Ability.CONCURRENCY}) - {
            Ability.REPETITION_PENALTY
        }


@pytest.mark.parametrize("batch", [1, 3])
def test_every_row_gets_its_tokens_one_a_response(llm, batch):
    with live() as strategy:
        chunks = list(strategy.stream(request(batch)))
    assert [len(row) for row in rows(chunks, batch)] == [5] * batch
    assert all(len(chunk.token_ids) == 1 for chunk in chunks)
    assert [chunk.row for chunk in chunks] == [*range(batch)] * 5
    assert [chunk.finish_reason for chunk in chunks if chunk.row == 0] == [None] * 4 + ["length"]


def test_several_tokens_a_response_come_as_one_chunk(llm):
    llm.bundle = 2
    with live() as strategy:
        assert [len(chunk.token_ids) for chunk in strategy.stream(request())] == [2, 2, 1]


def test_the_same_seed_gives_the_same_tokens(llm):
    asked = request(sampling=SamplingParams(seed=3))
    with live() as strategy:
        assert answer(strategy, asked) == answer(strategy, asked)
        assert answer(strategy, asked) != answer(strategy, request(sampling=SamplingParams(seed=4)))


def test_an_abandoned_request_is_aborted(llm):
    with live() as strategy:
        abandoned = strategy.stream(request(2))
        next(abandoned)
        abandoned.close()
        assert llm.built[0].aborted == 2


def test_reused_blocks_are_evidence_and_unknown_without_metrics(llm):
    with live() as strategy:
        llm.has_metrics = False
        list(strategy.stream(request()))
        assert strategy.evidence().cached_prefix_hits is None
        llm.has_metrics = True
        list(strategy.stream(request()))
        assert strategy.evidence().cached_prefix_hits == 0
        llm.reused = 2
        list(strategy.stream(request()))
        assert strategy.evidence().cached_prefix_hits == 1


def test_more_arguments_come_from_the_environment_and_must_agree(llm, monkeypatch):
    monkeypatch.setenv(ARGUMENTS_VARIABLE, '{"attn_backend": "FLASHINFER"}')
    with live() as strategy:
        assert llm.built[0].values["attn_backend"] == "FLASHINFER"
        assert 'engine arguments: {"attn_backend": "FLASHINFER"}' in strategy.evidence().notes


def test_memory_is_what_the_driver_saw_once_it_was_open(llm, monkeypatch):
    seen = iter([1000, 5000])
    monkeypatch.setattr("perfsuite.measure.gpu_memory.used_bytes", lambda gpus: next(seen))
    with live() as strategy:
        assert strategy.memory() == Memory(peak_reserved=4000)


def test_closing_ends_the_workers_once(llm):
    strategy = TensorRTLLMStrategy()
    strategy.close()
    with opened(strategy, TINY, WORKLOADS):
        pass
    strategy.close()
    assert llm.built[0].shutdowns == 1


def test_a_missing_engine_is_told_with_the_remedy(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorrt_llm", None)
    assert "install it as its guide says: https://nvidia.github.io/TensorRT-LLM/" in refused()


def test_an_old_engine_is_told_with_the_version_found(monkeypatch):
    tensorrt_llm_double.install(monkeypatch, "0.21.0")
    assert refused() == "strategy 'tensorrt-llm' needs TensorRT-LLM 1.2 or above, found 0.21.0"


def test_a_version_that_lacks_a_keyword_says_which(monkeypatch):
    tensorrt_llm_double.install(monkeypatch, "1.9.0", lacking=frozenset({"stream_interval", "load_format"}))
    assert refused(error=OptionError) == "TensorRT-LLM 1.9.0 does not take load_format, stream_interval"


def test_a_keyword_that_only_starting_refuses_is_one_line(monkeypatch):
    tensorrt_llm_double.install(monkeypatch)
    monkeypatch.delattr("tensorrt_llm.llmapi.TorchLlmArgs")
    monkeypatch.setenv(ARGUMENTS_VARIABLE, '{"nonsense": 1}')
    assert refused(error=OptionError) == "TensorRT-LLM 1.2.1: LLM got invalid argument: nonsense"
    monkeypatch.setenv(ARGUMENTS_VARIABLE, '{"fast_build": true}')
    assert "specific to TensorRT backend and cannot be used with PyTorch backend" in refused(error=OptionError)


def test_no_room_at_the_start_is_told_with_what_to_lower(llm):
    llm.startup_error = RuntimeError("Executor creation failed due to insufficient GPU memory.\nComponent: model")
    said = refused(error=DeviceMemoryError)
    assert said.startswith("TensorRT-LLM has no room: Executor creation failed due to insufficient GPU memory; lower ")


def test_a_request_that_a_worker_refuses_is_an_error_of_the_request(llm):
    llm.ends = {2: tensorrt_llm_double.RequestError("prompt and query exceed max_num_tokens")}
    with live() as strategy:
        with pytest.raises(tensorrt_llm_double.RequestError):
            list(strategy.stream(request()))
        assert len(answer(strategy, request())[0]) == 5


@pytest.fixture
def engine_folder(tmp_path):
    """What trtllm-build leaves behind."""
    said = {
        "version": "1.2.1",
        "pretrained_config": {"dtype": "float16", "vocab_size": 32000, "mapping": {"tp_size": 1}},
        "build_config": {"max_seq_len": 128},
    }
    (tmp_path / "config.json").write_text(json.dumps(said))
    (tmp_path / "rank0.engine").write_bytes(b"plan")
    return tmp_path


def test_a_built_engine_runs_where_the_version_still_can(monkeypatch, engine_folder):
    llm = tensorrt_llm_double.install(monkeypatch)
    with live(ModelSpec(name=str(engine_folder), device="cuda")) as strategy:
        values = llm.built[0].values
        assert set(values) == {"model", "skip_tokenizer_init", "tensor_parallel_size", "kv_cache_config"}
        assert (strategy.facts().vocabulary, strategy.facts().positions, strategy.facts().dtype) == (
            32000,
            128,
            "float16",
        )
        assert "backend: TensorRT engine" in strategy.evidence().notes
        assert Ability.REPETITION_PENALTY in strategy.abilities
        list(strategy.stream(request()))
        assert llm.built[0].asked[0][1].end_id == -1


def test_a_built_engine_is_refused_with_the_way_out_where_there_is_no_backend_for_it(monkeypatch, engine_folder):
    tensorrt_llm_double.install(monkeypatch, "1.4.0rc1", has_engine_backend=False)
    said = refused(ModelSpec(name=str(engine_folder), device="cuda"), OptionError)
    assert "TensorRT-LLM 1.4.0rc1 has no engine backend any more; give the Hugging Face model" in said
    assert "tensorrt-backend-removal" in said


def test_an_engine_for_other_gpus_or_shorter_sequences_is_refused(monkeypatch, engine_folder):
    tensorrt_llm_double.install(monkeypatch)
    model = ModelSpec(name=str(engine_folder), device="cuda")
    said = refused(replace(model, engine=EngineOptions(tensor_parallel_size=2)), OptionError)
    assert said.endswith("the engine was built for 1 GPUs; use --perf-tensor-parallel 1")
    config = json.loads((engine_folder / "config.json").read_text())
    config["build_config"]["max_seq_len"] = 64
    (engine_folder / "config.json").write_text(json.dumps(config))
    assert "take 109 positions, the model has 64" in refused(model, OptionError)


def test_a_config_that_is_not_an_engines_is_refused(monkeypatch, engine_folder):
    tensorrt_llm_double.install(monkeypatch)
    (engine_folder / "config.json").write_text("{}")
    assert "its config.json is not that of an engine" in refused(
        ModelSpec(name=str(engine_folder), device="cuda"), ModelLoadError
    )
    assert Path(engine_folder / "rank0.engine").exists()
