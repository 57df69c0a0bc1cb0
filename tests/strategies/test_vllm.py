"""What vLLM is asked, how its steps become chunks, and what is said where it cannot run; against a double of 0.25.1."""

import json
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from perfsuite.core.engine import EngineOptions
from perfsuite.core.errors import DeviceMemoryError, OptionError, StrategyUnavailableError
from perfsuite.core.recording import Memory
from perfsuite.core.sample import Request
from perfsuite.core.workload import ModelSpec, SamplingParams, Workload
from perfsuite.measure.opening import opened
from perfsuite.measure.strategy import ALL_SAMPLING, Ability
from perfsuite.models.presets import packaged_weights
from perfsuite.strategies import _engine
from perfsuite.strategies.vllm import ARGUMENTS_VARIABLE, VllmStrategy
from tests.strategies import vllm_double
from tests.strategies.contract import answer, request, rows
from tests.strategies.vllm_double import RequestOutputKind

TINY = ModelSpec(name="tiny", device="cuda")
WORKLOADS = (Workload(prompt_tokens=10, output_tokens=5), Workload(prompt_tokens=100, output_tokens=9, batch_size=3))


@pytest.fixture
def engine(monkeypatch):
    monkeypatch.setattr(_engine, "has_gpu", lambda: True)
    monkeypatch.delenv(ARGUMENTS_VARIABLE, raising=False)
    return vllm_double.install(monkeypatch)


def live(model=TINY, workloads=WORKLOADS):
    return opened(VllmStrategy(), model, workloads)


def test_the_engine_is_built_with_what_was_asked_for(engine):
    options = EngineOptions(tensor_parallel_size=2, gpu_memory_utilization=0.5, max_model_len=512)
    with live(replace(TINY, dtype="bfloat16", engine=options)):
        (built,) = engine.built
        assert built.values == {
            "model": str(packaged_weights(TINY).parent),
            "load_format": "auto",
            "dtype": "bfloat16",
            "revision": None,
            "trust_remote_code": False,
            "skip_tokenizer_init": True,
            "generation_config": "vllm",
            "enable_prefix_caching": False,
            "stream_interval": 1,
            "disable_log_stats": True,
            "seed": 0,
            "tensor_parallel_size": 2,
            "gpu_memory_utilization": 0.5,
            "max_model_len": 512,
        }


def test_the_longest_sequence_is_that_of_the_tests_rounded_up(engine):
    with live():
        assert engine.built[0].values["max_model_len"] == 128
        assert "gpu_memory_utilization" not in engine.built[0].values


def test_a_preset_that_is_a_shape_becomes_a_folder_with_dummy_weights(engine, monkeypatch):
    seen = {}

    def build(cls, engine_args, usage_context):
        seen.update(json.loads((Path(engine_args.values["model"]) / "config.json").read_text()))
        return cls(engine_args.values)

    monkeypatch.setattr(engine, "from_engine_args", classmethod(build))
    with live(ModelSpec(name="llama-2-7b", device="cuda")) as strategy:
        values = engine.built[0].values
        assert (seen["architectures"], seen["hidden_size"], seen["vocab_size"]) == (["LlamaForCausalLM"], 4096, 32000)
        assert (values["load_format"], values["dtype"]) == ("dummy", "float16")
        assert (strategy.facts().vocabulary, strategy.facts().positions) == (32000, 4096)
    with live(ModelSpec(name="llama-2-7b", device="cuda")):
        assert engine.built[1].values["model"] == values["model"]


def test_a_request_is_passed_through_one_to_one(engine):
    sampling = SamplingParams(temperature=0.5, top_k=7, top_p=0.8, repetition_penalty=1.2, seed=11)
    asked = Request(prompts=((1, 2, 3),), output_tokens=4, sampling=sampling, ignore_eos=False)
    with live() as strategy:
        list(strategy.stream(asked))
        ((ids, params),) = engine.built[0].asked
    assert ids == [1, 2, 3]
    assert {name: getattr(params, name) for name in vllm_double.SAMPLING} == {
        "max_tokens": 4, "ignore_eos": False, "temperature": 0.5, "top_k": 7, "top_p": 0.8, "repetition_penalty": 1.2,
        "seed": 11, "detokenize": False, "output_kind": RequestOutputKind.DELTA, "min_tokens": 0,
        "stop_token_ids": None,
    }  # fmt: skip


def test_abilities_are_all_of_sampling_and_batches():
    assert VllmStrategy.abilities == ALL_SAMPLING | {Ability.BATCH, Ability.CONCURRENCY, Ability.TENSOR_PARALLEL}


@pytest.mark.parametrize("batch", [1, 3])
def test_every_row_gets_its_tokens_one_a_step(engine, batch):
    with live() as strategy:
        chunks = list(strategy.stream(request(batch)))
    assert [len(row) for row in rows(chunks, batch)] == [5] * batch
    assert all(len(chunk.token_ids) == 1 for chunk in chunks)
    assert [chunk.finish_reason for chunk in chunks if chunk.row == 0] == [None] * 4 + ["length"]


def test_several_tokens_a_step_come_as_one_chunk(engine):
    engine.bundle = 2
    with live() as strategy:
        assert [len(chunk.token_ids) for chunk in strategy.stream(request())] == [2, 2, 1]


def test_the_same_seed_gives_the_same_tokens(engine):
    asked = request(sampling=SamplingParams(seed=3))
    with live() as strategy:
        assert answer(strategy, asked) == answer(strategy, asked)
        assert answer(strategy, asked) != answer(strategy, request(sampling=SamplingParams(seed=4)))


def test_an_abandoned_request_is_aborted_and_leaves_an_idle_engine(engine):
    with live() as strategy:
        abandoned = strategy.stream(request(2))
        next(abandoned)
        abandoned.close()
        built = engine.built[0]
        assert len(built.aborted) == 2
        assert not built.has_unfinished_requests()
        assert len(answer(strategy, request())[0]) == 5


def test_prompts_from_a_cached_prefix_are_evidence(engine):
    with live() as strategy:
        list(strategy.stream(request()))
        assert strategy.evidence().cached_prefix_hits == 0
        engine.cached = 16
        list(strategy.stream(request(2)))
        assert strategy.evidence().cached_prefix_hits == 2


def test_the_evidence_names_version_and_what_must_agree(engine, monkeypatch):
    monkeypatch.setenv(ARGUMENTS_VARIABLE, '{"enforce_eager": true}')
    with live() as strategy:
        assert strategy.evidence().engines == 1
        assert strategy.evidence().notes == (
            "vLLM 0.25.1",
            "CUDA graphs: NONE",
            "tensor parallel: 1",
            "longest sequence: 128",
            'engine arguments: {"enforce_eager": true}',
        )
        assert engine.built[0].values["enforce_eager"] is True


def test_prompts_run_in_cuda_graphs_as_they_do_for_users_of_llm(engine):
    with live() as strategy:
        assert "CUDA graphs: FULL_AND_PIECEWISE, up to 512 tokens" in strategy.evidence().notes
        assert strategy.evidence().graphs_captured == 102
    with live(workloads=(replace(WORKLOADS[0], batch_size=257),)):
        assert engine.built[-1].values["max_num_seqs"] == 257


def test_an_engine_that_captured_none_of_its_graphs_did_not_engage(engine, monkeypatch):
    """Whatever an earlier one of the same process has captured, which vLLM's count is of."""
    with live():
        pass
    monkeypatch.setattr(engine, "graphs", 0)
    with live() as strategy:
        assert strategy.evidence().graphs_captured == 0


@pytest.mark.parametrize("elsewhere", ["ranks", "process"])
def test_graphs_that_other_processes_capture_are_not_counted(engine, elsewhere):
    with live() as strategy:
        if elsewhere == "ranks":
            strategy.engine.vllm_config.parallel_config.world_size = 2
        else:
            del strategy.engine.model_executor
        assert strategy.evidence().graphs_captured is None


def test_memory_is_what_the_driver_sees_more(engine, monkeypatch):
    seen = iter([1000, 5000, 4000])
    monkeypatch.setattr("perfsuite.measure.gpu_memory.used_bytes", lambda gpus: next(seen))
    with live() as strategy:
        assert strategy.memory() == Memory(peak_reserved=4000)


def test_closing_shuts_the_engine_down_once(engine):
    strategy = VllmStrategy()
    strategy.close()
    with opened(strategy, TINY, WORKLOADS):
        pass
    strategy.close()
    assert engine.built[0].engine_core.is_shut_down
    assert engine.cleaned == [True]


def test_the_engine_steps_in_this_process_unless_the_environment_says_otherwise(engine, monkeypatch):
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    with live():
        assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "1"
        assert os.environ["VLLM_NO_USAGE_STATS"] == "1"


def test_float32_is_not_rounded_to_tf32_by_triton(engine):
    with live(replace(TINY, dtype="float16")):
        assert "TRITON_F32_DEFAULT" not in os.environ
    with live(replace(TINY, dtype="float32")):
        assert os.environ["TRITON_F32_DEFAULT"] == "ieee"


@pytest.mark.parametrize("error", [None, RuntimeError("")])
def test_what_triton_is_told_is_of_no_concern_to_what_comes_after(engine, error):
    engine.startup_error = error
    with suppress(RuntimeError), live(replace(TINY, dtype="float32")):
        pass
    assert "TRITON_F32_DEFAULT" not in os.environ


def test_what_the_environment_tells_triton_stays(engine, monkeypatch):
    monkeypatch.setenv("TRITON_F32_DEFAULT", "tf32x3")
    with live(replace(TINY, dtype="float32")):
        assert os.environ["TRITON_F32_DEFAULT"] == "tf32x3"
    assert os.environ["TRITON_F32_DEFAULT"] == "tf32x3"


def refused(model=TINY, error=StrategyUnavailableError):
    with pytest.raises(error) as caught, live(model):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_engine_is_told_with_the_remedy(engine, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    assert refused().endswith("install it with: pip install 'perfsuite[vllm]'")


def test_an_old_engine_is_told_with_the_version_found(monkeypatch, engine):
    vllm_double.install(monkeypatch, version="0.9.2")
    assert refused() == "strategy 'vllm' needs vLLM 0.25 or above, found 0.9.2; pip install 'perfsuite[vllm]'"


def test_without_a_gpu_it_is_unavailable(engine, monkeypatch):
    monkeypatch.setattr(_engine, "has_gpu", lambda: False)
    assert refused() == "strategy 'vllm' needs a GPU; use --perf-device cuda, and check nvidia-smi"


def test_another_gpu_is_chosen_by_the_environment(engine):
    said = refused(replace(TINY, device="cuda:1"), OptionError)
    assert "use CUDA_VISIBLE_DEVICES=1 and --perf-device cuda" in said


def test_quantization_is_refused(engine):
    assert "cannot quantize weights to int8" in refused(replace(TINY, quantization="int8"))


@pytest.mark.parametrize(
    "words",
    [
        "Free memory on device cuda:0 (3/79 GiB) on startup is less than desired GPU memory utilization (0.92).\nMore.",
        "No available memory for the cache blocks. Try increasing `gpu_memory_utilization`.",
        "CUDA out of memory. Tried to allocate 172.00 MiB.",
    ],
)
def test_no_room_at_the_start_is_told_with_what_to_lower(engine, words):
    engine.startup_error = ValueError(words)
    said = refused(error=DeviceMemoryError)
    assert said.startswith(f"vLLM has no room: {words.splitlines()[0].rstrip('.')}")
    assert said.endswith("lower --perf-gpu-memory-utilization or --perf-max-model-len, or free the GPU")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "1 validation error for ModelConfig\n  Value error, Model architectures ['MyModel'] are not supported for "
            "now. [type=value_error, input_value=ArgsKwargs((), {}), input_type=ArgsKwargs]\n    For further "
            "information visit https://errors.pydantic.dev/2.14/v/value_error",
            "(ModelConfig): Model architectures ['MyModel'] are not supported for now",
        ),
        (
            "2 validation errors for CacheConfig\nblock_size\n  Input should be a valid integer [type=int_parsing, "
            "input_value='q', input_type=str]\n    For further information visit https://errors.pydantic.dev/",
            "(CacheConfig): block_size Input should be a valid integer",
        ),
    ],
)
def test_what_the_engine_refuses_is_told_with_its_reason(engine, words, told):
    engine.startup_error = ValueError(words)
    said = refused()
    assert said == (f"vLLM does not take this model or these options {told}; give others, or use --perf-strategy eager")


def test_what_the_engine_refuses_where_it_was_given_more_arguments_is_an_error_of_theirs(engine, monkeypatch):
    """As a wrong name among them is: --perf-strategy all would pass over it."""
    monkeypatch.setenv(ARGUMENTS_VARIABLE, '{"max_num_batched_tokens": 1}')
    engine.startup_error = ValueError(
        "1 validation error for SchedulerConfig\n  Value error, max_num_batched_tokens (1) must be greater than or "
        "equal to max_num_seqs (1024). [type=value_error, input_value=ArgsKwargs((), {}), input_type=ArgsKwargs]"
    )
    assert refused(error=OptionError) == (
        "vLLM does not take this model or these options (SchedulerConfig): max_num_batched_tokens (1) must be greater "
        "than or equal to max_num_seqs (1024); correct PERFSUITE_VLLM_ARGS, or take it away"
    )


def test_any_other_error_at_the_start_is_the_engines_own(engine):
    engine.startup_error = RuntimeError("")
    with pytest.raises(RuntimeError), live():
        pass


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        (
            '{"nonsense": 1}',
            "vLLM 0.25.1 does not take these arguments: EngineArgs.__init__() got an unexpected keyword",
        ),
    ],
)
def test_more_arguments_that_cannot_be_used_are_refused(engine, monkeypatch, text, words):
    monkeypatch.setenv(ARGUMENTS_VARIABLE, text)
    assert words in refused(error=OptionError)


def test_an_engine_that_dies_in_the_middle_is_an_error_of_the_request(engine):
    engine.ends = {3: RuntimeError("EngineCore encountered an issue.")}
    with live() as strategy, pytest.raises(RuntimeError, match="EngineCore encountered an issue"):
        list(strategy.stream(request()))
