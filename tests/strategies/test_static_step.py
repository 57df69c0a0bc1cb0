"""Passes over memory that never moves give what plain passes give, and prepare what a run will ask for."""

import copy
from dataclasses import replace

import pytest
import torch

from perfsuite.core.errors import DeviceMemoryError, StrategyUnavailableError
from perfsuite.core.sample import Request
from perfsuite.core.workload import DEFAULT_SAMPLING, SamplingParams, Workload
from perfsuite.strategies._decode import Decoder, SampledStep, next_token_logits
from perfsuite.strategies._lane import Lane
from perfsuite.strategies._sampler import sample
from perfsuite.strategies._static import ATTENTION, StaticForward, require_static_cache, use_static_attention
from perfsuite.strategies._static_step import StaticStep
from perfsuite.strategies.eager import EagerForward
from tests.strategies.families import STATIC, small_model

CPU = torch.device("cpu")
GREEDY = SamplingParams(temperature=0)
FLAT = SamplingParams(temperature=1e6, repetition_penalty=1.1)


class Recorder:
    """Prepares passes as they are and keeps their number."""

    def __init__(self):
        self.prepared = 0

    def __call__(self, run, generator):
        self.prepared += 1
        return run


@pytest.fixture(scope="module")
def llama():
    return small_model("llama")


def static(model):
    model = copy.deepcopy(model)
    use_static_attention(model)
    return model


def request(tokens=20, rows=1, output_tokens=20, sampling=GREEDY):
    drawn = torch.randint(3, 300, (rows, tokens), generator=torch.Generator().manual_seed(tokens)).tolist()
    return Request(prompts=tuple(map(tuple, drawn)), output_tokens=output_tokens, sampling=sampling)


def answer(step, asked):
    return [chunk.token_ids[0] for chunk in Decoder(step, CPU, ()).stream(asked)]


@pytest.mark.parametrize("kind", STATIC)
def test_greedy_tokens_are_those_of_eager_in_every_family(kind):
    model = small_model(kind)
    eager, step = SampledStep(EagerForward(model), CPU), StaticStep(static(model))
    for asked in (request(7), request(40), request(1, rows=3), request(20, rows=3)):
        tokens = answer(step, asked)
        assert tokens == answer(eager, asked)
        assert len(set(tokens)) > 3


@pytest.mark.parametrize("rows", [1, 3])
def test_with_every_option_on_the_same_seed_draws_what_eager_draws(llama, rows):
    asked = request(rows=rows, sampling=DEFAULT_SAMPLING)
    assert answer(StaticStep(static(llama)), asked) == answer(SampledStep(EagerForward(llama), CPU), asked)


def test_the_seed_of_the_request_decides_the_draws(llama):
    step = StaticStep(static(llama))
    other = SamplingParams(temperature=1e6, repetition_penalty=1.1, seed=1)
    first, between, again = (answer(step, request(sampling=sampling)) for sampling in (FLAT, other, FLAT))
    assert first == again != between


@pytest.mark.parametrize("sampling", [GREEDY, FLAT], ids=["greedy", "flat"])
def test_what_a_longer_request_left_behind_does_not_matter(llama, sampling):
    step, asked = StaticStep(static(llama)), request(5, output_tokens=10, sampling=sampling)
    answer(step, request(40, sampling=sampling))
    assert answer(step, asked) == answer(StaticStep(static(llama)), asked)


def test_an_abandoned_request_does_not_disturb_the_next(llama):
    step, asked = StaticStep(static(llama)), request(sampling=FLAT)
    expected = answer(step, asked)
    abandoned = Decoder(step, CPU, ()).stream(request(sampling=FLAT))
    next(abandoned)
    abandoned.close()
    assert answer(step, asked) == expected


def test_logits_are_those_of_the_model(llama):
    asked = request(rows=2)
    logits = next_token_logits(StaticForward(static(llama), 64), asked.prompts, CPU)
    expected = llama(torch.tensor(asked.prompts)).logits[:, -1]
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


def test_logits_between_requests_do_not_disturb_the_next(llama):
    step, asked = StaticStep(static(llama)), request()
    expected = answer(step, asked)
    next_token_logits(step.lane(1, 30).forward, request(30).prompts, CPU)
    assert answer(step, asked) == expected


def test_what_is_expected_is_prepared_once(llama):
    prepare = Recorder()
    step = StaticStep(static(llama), prepare)
    step.expect(Workload(prompt_tokens=tokens, output_tokens=20, sampling=GREEDY) for tokens in (5, 20))
    assert prepare.prepared == 3  # two prefills, one decode
    for tokens in (5, 20, 5):
        answer(step, request(tokens))
    assert prepare.prepared == 3


def test_the_largest_prefills_come_first_and_decoding_last(llama, monkeypatch):
    passes = []

    def prepare(run, generator):
        run()
        return run

    monkeypatch.setattr(Lane, "prefill", lambda lane, tokens, sampling: passes.append((len(lane.ids), tokens)))
    monkeypatch.setattr(Lane, "decode", lambda lane, sampling: passes.append((len(lane.ids), "decode")))
    sizes = ((1, 20), (4, 5), (1, 5), (4, 20))
    StaticStep(static(llama), prepare).expect(
        Workload(prompt_tokens=tokens, batch_size=rows, sampling=GREEDY) for rows, tokens in sizes
    )
    assert passes == [(4, 20), (4, 5), (1, 20), (1, 5), (4, "decode"), (1, "decode")]


@pytest.mark.parametrize(
    ("asked", "more"),
    [
        (request(6), 1),
        (request(5, sampling=FLAT), 2),
        (request(5, rows=2), 2),
        (request(5, sampling=SamplingParams(temperature=0, seed=9)), 0),
    ],
    ids=["length", "sampling", "batch", "seed"],
)
def test_what_was_not_expected_is_prepared_when_it_is_asked_for(llama, asked, more):
    prepare = Recorder()
    step = StaticStep(static(llama), prepare)
    step.expect([Workload(prompt_tokens=5, output_tokens=20, sampling=GREEDY)])
    for _ in range(2):
        answer(step, asked)
    assert prepare.prepared == 2 + more


def test_caches_are_as_long_as_the_longest_workload_of_their_batch_size(llama):
    step = StaticStep(static(llama))
    step.expect(
        Workload(prompt_tokens=tokens, output_tokens=20, batch_size=rows) for tokens, rows in ((5, 1), (50, 1), (5, 2))
    )
    assert step.cache_lengths == (128, 64)


def test_a_request_longer_than_the_cache_gets_a_longer_one(llama):
    step, asked = StaticStep(static(llama)), request(50, output_tokens=30)
    answer(step, request(5))
    assert answer(step, asked) == answer(SampledStep(EagerForward(llama), CPU), asked)
    assert step.cache_lengths == (128,)


def test_nothing_moves_from_request_to_request(llama):
    step = StaticStep(static(llama))
    places = set()
    for tokens in (5, 20, 5):
        step.begin(request(5))
        ids = step.prefill()
        lane = step.lane(1, 40)
        prompts = lane.prompts(5)
        held = [tensor for layer in lane.forward._layers for tensor in (layer.keys, layer.values)]
        places.add(tuple(tensor.data_ptr() for tensor in (prompts, ids, step.decode(), *held)))
        answer(step, request(tokens))
    assert len(places) == 1


@pytest.mark.parametrize("kind", STATIC)
def test_a_pass_asks_the_device_for_nothing(monkeypatch, kind):
    """Tensors without values stand in for those of a device: whoever reads one of them fails."""
    monkeypatch.setattr("transformers.utils.import_utils.is_cuda_stream_capturing", lambda: True)
    model = small_model(kind).to("meta")
    use_static_attention(model)
    forward, ids = StaticForward(model, 64), torch.zeros(2, 40, dtype=torch.int64, device="meta")
    for logits in (forward.prefill(ids), forward.decode(ids[:, :1])):
        assert logits.shape == (2, 300)
        assert sample(logits, torch.zeros_like(logits, dtype=torch.bool), DEFAULT_SAMPLING, None).shape == (2,)


def test_a_prefill_needs_no_mask_where_causal_attention_will_do(llama, monkeypatch):
    masks = []
    model = static(llama)
    attend = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr("transformers.utils.import_utils.is_cuda_stream_capturing", lambda: True)
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *states, attn_mask, **options: (
            masks.append((attn_mask is None, options["is_causal"])) or attend(*states, attn_mask=attn_mask, **options)
        ),
    )
    forward, ids = StaticForward(model, 64), torch.ones(1, 20, dtype=torch.int64)
    forward.prefill(ids)
    forward.decode(ids[:, :1])
    assert masks == [(True, True)] * 2 + [(False, False)] * 2


def test_static_attention_replaces_sdpa_only(llama):
    plain = copy.deepcopy(llama)
    plain.set_attn_implementation("eager")
    use_static_attention(plain)
    assert (static(llama).config._attn_implementation, plain.config._attn_implementation) == (ATTENTION, "eager")


def test_eager_attention_gives_the_same_tokens(llama):
    plain = copy.deepcopy(llama)
    plain.set_attn_implementation("eager")
    assert answer(StaticStep(plain), request(30)) == answer(SampledStep(EagerForward(plain), CPU), request(30))


@pytest.mark.parametrize("kind", STATIC)
def test_models_with_a_static_cache_are_accepted(kind):
    require_static_cache(small_model(kind))


def test_a_model_without_a_key_value_cache_is_refused():
    with pytest.raises(StrategyUnavailableError, match=r"'mamba' model cannot keep its cache at a fixed length.*eager"):
        require_static_cache(small_model("mamba"))


def test_attention_that_cannot_be_masked_is_refused(llama):
    model = copy.deepcopy(llama)
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(StrategyUnavailableError, match="'flash_attention_2' cannot be masked"):
        require_static_cache(model)


def test_running_out_of_memory_says_the_sizes_and_what_to_lower(llama):
    def exhaust(run, generator):
        run()
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(
        DeviceMemoryError,
        match=r"cpu is out of memory preparing the prefill of 20 tokens for a batch of 2: the weights take \d+ KiB, "
        r"the cache of 64 positions \d+ KiB, 0 KiB are free; lower the batch size, the prompt or output length",
    ):
        answer(StaticStep(static(llama), exhaust), request(rows=2))


def lacks_room_for(tokens):
    """Preparation for which prompts of so many tokens are too long."""

    def prepare(run, generator):
        run()
        if tokens in {cell.cell_contents for cell in run.__closure__ if isinstance(cell.cell_contents, int)}:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return run

    return prepare


def workload(tokens):
    return Workload(prompt_tokens=tokens, output_tokens=20, sampling=GREEDY)


def test_a_prompt_for_which_there_is_no_room_fails_when_asked_for_and_the_others_are_answered(llama):
    step = StaticStep(static(llama), lacks_room_for(40))
    step.expect([workload(40), workload(20)])
    assert step.prepared == 2
    first = answer(step, request(20))
    with pytest.raises(DeviceMemoryError, match="preparing the prefill of 40 tokens"):
        answer(step, request(40))
    assert answer(step, request(20)) == first


def test_where_no_prompt_fits_opening_fails(llama):
    with pytest.raises(DeviceMemoryError, match="preparing the prefill of 40 tokens"):
        StaticStep(static(llama), lacks_room_for(40)).expect([workload(40)])


def lacks_room_beside_a_cache_of(length):
    """Preparation of passes beside whose cache, if it is so long, there is no room for anything."""

    def prepare(run, generator):
        (lane,) = (cell.cell_contents for cell in run.__closure__ if isinstance(cell.cell_contents, Lane))
        run()
        if lane.forward.length >= length:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return run

    return prepare


def test_a_cache_beside_which_nothing_fits_is_given_up_and_shorter_requests_are_answered(llama):
    step = StaticStep(static(llama), lacks_room_beside_a_cache_of(128))
    step.expect([workload(20), workload(100), workload(40)])
    assert (step.prepared, step.cache_lengths) == (3, (64,))
    first = answer(step, request(20))
    for tokens in (100, 110):
        with pytest.raises(DeviceMemoryError, match=r"prefill of 100 tokens .* the cache of 128 positions"):
            answer(step, request(tokens))
        assert answer(step, request(20)) == first
    assert (step.prepared, step.cache_lengths) == (3, (64,))


def test_a_cache_that_is_longer_than_asked_for_is_given_up_once(llama):
    class Longer(StaticStep):
        def make_forward(self, rows, length):
            return super().make_forward(rows, 256)

    step = Longer(static(llama), lacks_room_beside_a_cache_of(128))
    with pytest.raises(DeviceMemoryError, match="preparing the prefill of 40 tokens"):
        step.expect([workload(40), workload(20)])


def test_a_cache_that_would_have_to_be_built_is_not_asked_for(llama):
    class Built(StaticStep):
        can_be_shorter = False

    step = Built(static(llama), lacks_room_beside_a_cache_of(128))
    with pytest.raises(DeviceMemoryError, match="preparing the prefill of 100 tokens"):
        step.expect([workload(100), workload(20)])
    step.expect([workload(100), replace(workload(20), batch_size=2)])
    assert step.cache_lengths == (128, 64)


def test_the_largest_batch_gives_way_before_others_do(llama):
    step = None

    def prepare(run, generator):
        run()
        if sum(rows * lane.forward.length for rows, lane in step._lanes.items()) > 300:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return run

    step = StaticStep(static(llama), prepare)
    step.expect([workload(100), replace(workload(100), batch_size=16)])
    assert step.cache_lengths == (128,)
    answer(step, request(100))
    with pytest.raises(DeviceMemoryError, match=r"a cache of 128 positions was given up .* a batch of 16"):
        answer(step, request(100, rows=16))


def test_other_batch_sizes_keep_the_caches_that_fit(llama):
    step = StaticStep(static(llama), lacks_room_beside_a_cache_of(128))
    step.expect([workload(100), workload(20), *(replace(each, batch_size=2) for each in (workload(30), workload(20)))])
    assert (step.prepared, step.cache_lengths) == (5, (64, 64))
    answer(step, request(20))
    answer(step, request(30, rows=2))
    assert step.prepared == 5


def test_what_must_fit_is_not_left_to_its_first_request(llama):
    """Other ranks would wait for what this one leaves out."""
    with pytest.raises(DeviceMemoryError, match="preparing the prefill of 40 tokens"):
        StaticStep(static(llama), lacks_room_for(40)).expect([workload(40), workload(20)], all_must_fit=True)


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_memory_that_cuda_itself_cannot_find_is_told_like_the_allocators(llama, error):
    def exhaust(run, generator):
        raise error

    with pytest.raises(DeviceMemoryError, match="cpu is out of memory preparing"):
        answer(StaticStep(static(llama), exhaust), request())


def test_the_cache_is_counted_with_all_its_layers(llama):
    forward = StaticForward(static(llama), 64)
    assert forward.cache_bytes == 0
    forward.prefill(torch.ones(3, 5, dtype=torch.int64))
    assert (
        forward.cache_bytes == 2 * 2 * 3 * 2 * 64 * 8 * 4
    )  # layers, keys and values, rows, heads, length, width, bytes


def test_a_step_without_a_request_is_refused(llama):
    with pytest.raises(RuntimeError, match="no request has begun"):
        StaticStep(static(llama)).decode()
