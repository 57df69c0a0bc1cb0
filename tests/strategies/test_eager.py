"""The eager strategy gives what transformers' own generate gives, and tells what it knows."""

import gc
import weakref

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from perfsuite.core.errors import DeviceMemoryError, ModelLoadError, OptionError, StrategyUnavailableError
from perfsuite.core.recording import Memory
from perfsuite.core.sample import Request
from perfsuite.core.workload import DEFAULT_SAMPLING, ModelSpec, SamplingParams, Workload
from perfsuite.measure.opening import opened
from perfsuite.models.alphabet import encode
from perfsuite.strategies import _inprocess
from perfsuite.strategies.eager import EagerForward, EagerStrategy
from tests.strategies.families import FAMILIES, small_model

TINY = ModelSpec(name="tiny", device="cpu")
PROMPTS = (encode("def area(self, width"), encode("for name in sorted(n"))


@pytest.fixture(scope="module")
def tiny():
    with opened(EagerStrategy(), TINY, (Workload(prompt_tokens=20),)) as strategy:
        yield strategy


def tokens_of(strategy, prompts, output_tokens, **sampling):
    asked = Request(prompts=prompts, output_tokens=output_tokens, sampling=SamplingParams(**sampling))
    chunks = list(strategy.stream(asked))
    return [[chunk.token_ids[0] for chunk in chunks if chunk.row == row] for row in range(len(prompts))]


def generated(model, prompts, output_tokens, **options):
    ids = torch.tensor(prompts)
    length = output_tokens + ids.shape[1]
    every = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_length=length,
        eos_token_id=-1,
        pad_token_id=0,
        **options,
    )
    return every[:, ids.shape[1] :].tolist()


def model_of(strategy):
    return strategy.loaded.model


@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS], ids=["one row", "two rows"])
@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_tokens_are_those_of_generate(tiny, prompts, penalty):
    ours = tokens_of(tiny, prompts, 24, temperature=0, repetition_penalty=penalty)
    assert ours == generated(model_of(tiny), prompts, 24, repetition_penalty=penalty)
    assert len(set(ours[0])) > 10


@pytest.mark.parametrize("kind", FAMILIES)
def test_greedy_tokens_are_those_of_generate_in_every_family(tmp_path, kind):
    small_model(kind).save_pretrained(tmp_path)
    with opened(EagerStrategy(), ModelSpec(name=str(tmp_path), device="cpu")) as strategy:
        ours = tokens_of(strategy, PROMPTS, 16, temperature=0)
        assert ours == generated(model_of(strategy), PROMPTS, 16)
    assert len(set(ours[0])) > 3


def test_logits_of_the_next_token_are_those_of_the_model(tiny):
    with torch.inference_mode():
        expected = model_of(tiny)(torch.tensor(PROMPTS)).logits[:, -1]
    logits = tiny.next_token_logits(PROMPTS)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


def test_the_largest_logit_is_the_greedy_token(tiny):
    best = tiny.next_token_logits(PROMPTS).argmax(dim=-1).tolist()
    assert [row[0] for row in tokens_of(tiny, PROMPTS, 1, temperature=0)] == best


def test_the_end_id_of_the_model_stops_a_row_unless_ignored(tiny):
    flat = SamplingParams(temperature=1e6)  # every id as likely as another: an end id comes sooner or later
    asked = Request(prompts=PROMPTS[:1], output_tokens=1000, sampling=flat, ignore_eos=False)
    *before, last = tiny.stream(asked)
    assert (last.token_ids, last.finish_reason) == ((257,), "stop")
    assert all(chunk.token_ids != (257,) for chunk in before)


def test_sampling_with_every_option_on_gives_all_tokens(tiny):
    asked = Request(prompts=PROMPTS, output_tokens=8, sampling=DEFAULT_SAMPLING)
    assert len(list(tiny.stream(asked))) == 16


def test_its_evidence_notes_attention_and_dtype(tiny):
    assert tiny.evidence().notes == ("attention: sdpa", "dtype: float32")


def test_on_a_cpu_it_knows_its_weights_and_no_device_memory(tiny):
    assert tiny.memory() == Memory(weights=4 * 771_456)
    assert tiny.device_ns() is None


def test_a_workload_that_does_not_fit_is_refused_before_loading(monkeypatch):
    monkeypatch.setattr("perfsuite.strategies._inprocess.load", pytest.fail)
    too_long = Workload(prompt_tokens=1000, output_tokens=25)
    with (
        pytest.raises(OptionError, match=r"1000 prompt and 25 output tokens take 1025 positions.* has 1024"),
        opened(EagerStrategy(), TINY, (Workload(prompt_tokens=10), too_long)),
    ):
        pass


def test_a_workload_that_does_not_fit_a_hugging_face_model_is_refused_before_its_weights_are_read(monkeypatch):
    monkeypatch.setattr("perfsuite.strategies._inprocess.positions_of", lambda name: None)  # nothing is known by name
    monkeypatch.setattr("perfsuite.models.load._draw", pytest.fail)
    with (
        pytest.raises(OptionError, match=r"1000 prompt and 25 output tokens take 1025 positions.* has 1024"),
        opened(EagerStrategy(), TINY, (Workload(prompt_tokens=1000, output_tokens=25),)),
    ):
        pass


def test_a_request_beyond_the_positions_is_refused_before_it_can_harm_the_device(tiny):
    with pytest.raises(OptionError, match=r"25 output tokens take 1025 positions, the model has 1024; shorten"):
        tokens_of(tiny, ((1,) * 1000,), 25)


def test_a_workload_that_just_fits_is_answered():
    with opened(EagerStrategy(), TINY, (Workload(prompt_tokens=1000, output_tokens=24),)) as strategy:
        assert len(tokens_of(strategy, ((1,) * 1000,), 24, temperature=0)[0]) == 24


def test_running_out_of_memory_says_how_much_there_is_and_what_to_lower(monkeypatch):
    def exhaust(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(EagerForward, "prefill", exhaust)
    with (
        opened(EagerStrategy(), TINY) as strategy,
        pytest.raises(
            DeviceMemoryError,
            match=r"batch of 2 with 20 prompt and 4 output tokens: the weights take 3 MiB, their cache \d+ KiB,.*lower",
        ),
    ):
        tokens_of(strategy, PROMPTS, 4)


def test_a_model_without_a_key_value_cache_is_refused(tmp_path):
    torch.manual_seed(0)
    config = AutoConfig.for_model("mamba", vocab_size=300, hidden_size=16, num_hidden_layers=1, state_size=4)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with (
        opened(EagerStrategy(), ModelSpec(name=str(tmp_path), device="cpu")) as strategy,
        pytest.raises(StrategyUnavailableError, match="'mamba' model keeps no past_key_values"),
    ):
        tokens_of(strategy, PROMPTS, 4)


def test_closing_lets_go_of_the_model():
    strategy = EagerStrategy()
    with opened(strategy, TINY):
        model = weakref.ref(model_of(strategy))
        tokens_of(strategy, PROMPTS, 2)
    gc.collect()
    assert model() is None


def test_what_is_not_open_says_so():
    strategy = EagerStrategy()
    for ask in (strategy.facts, strategy.evidence, strategy.memory, lambda: strategy.next_token_logits(PROMPTS)):
        with pytest.raises(RuntimeError, match="not open"):
            ask()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_knows_its_memory_and_times_its_steps():
    with opened(EagerStrategy(), ModelSpec(name="tiny")) as strategy:
        tokens_of(strategy, PROMPTS, 4)
        memory = strategy.memory()
        assert memory.weights < memory.peak_allocated <= memory.peak_reserved
        assert len(strategy.device_ns()) == 4


def test_the_current_device_is_the_models_as_long_as_it_is_open(monkeypatch):
    """Triton launches kernels on the current device, wherever their tensors are."""
    chosen = []
    monkeypatch.setattr(_inprocess, "find_device", lambda _: torch.device("cuda", 1))
    monkeypatch.setattr(_inprocess, "load", refused)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)
    strategy = EagerStrategy()
    with pytest.raises(ModelLoadError), opened(strategy, TINY, (Workload(prompt_tokens=20),)):
        pass
    assert chosen == [torch.device("cuda", 1), 0]


def refused(*_):
    raise ModelLoadError("there is no such model")
