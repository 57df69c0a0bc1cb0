"""Compiled passes give what eager ones give, are compiled before they are timed, and never stand aside unseen."""

import functools
import gc
import re
import weakref
from dataclasses import replace

import pytest
import torch
import torch._inductor.config
from torch._dynamo import config as dynamo

from perfsuite.core.errors import DeviceMemoryError, StrategyUnavailableError
from perfsuite.core.sample import Request
from perfsuite.core.validity import problems
from perfsuite.core.workload import DEFAULT_SAMPLING, ModelSpec, SamplingParams, Workload
from perfsuite.measure.opening import opened
from perfsuite.strategies._compile import Regions
from perfsuite.strategies._decode import Decoder, SampledStep
from perfsuite.strategies._static import use_static_attention
from perfsuite.strategies._static_step import StaticStep
from perfsuite.strategies.eager import EagerForward, EagerStrategy
from perfsuite.strategies.jit import JitStrategy
from tests.builders import make_recording
from tests.strategies.families import STATIC, small_model
from tests.strategies.tracing import traced_only

CPU = torch.device("cpu")
GREEDY = SamplingParams(temperature=0)
FLAT = SamplingParams(temperature=1e6)
TOLERANCE = {"float32": 1e-3, "float16": 0.02, "bfloat16": 0.1}  # of the largest logit

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def tracing(monkeypatch):
    traced_only(monkeypatch)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """Of one layer, as every other is compiled as the first."""
    folder, model = tmp_path_factory.mktemp("llama"), small_model("llama")
    model.model.layers = model.model.layers[:1]
    model.config.num_hidden_layers = 1
    model.config.max_position_embeddings = 128  # more than a cache for a short request has
    model.save_pretrained(folder)
    return ModelSpec(name=str(folder), device="cpu")


def workload(tokens=20, rows=1, output_tokens=20, sampling=GREEDY):
    return Workload(prompt_tokens=tokens, output_tokens=output_tokens, batch_size=rows, sampling=sampling)


def request(tokens=20, rows=1, output_tokens=20, sampling=GREEDY):
    drawn = torch.randint(3, 250, (rows, tokens), generator=torch.Generator().manual_seed(tokens)).tolist()
    return Request(prompts=tuple(map(tuple, drawn)), output_tokens=output_tokens, sampling=sampling)


def answer(strategy, asked):
    chunks = list(strategy.stream(asked))
    return [[chunk.token_ids[0] for chunk in chunks if chunk.row == row] for row in range(len(asked.prompts))]


def invalid(strategy):
    """What makes a recording with this evidence unbelievable."""
    return problems(replace(make_recording(), evidence=strategy.evidence()))


def assert_same_up_to_ties(jit, eager, asked, share):
    """Greedy tokens agree; where a row first differs, eager finds both tokens equally good within `share`."""
    for prompt, ours, theirs in zip(asked.prompts, answer(jit, asked), answer(eager, asked), strict=True):
        differing = [index for index, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]]
        if differing:
            first = differing[0]
            (logits,) = eager.next_token_logits(((*prompt, *theirs[:first]),))
            gap = abs(logits[ours[first]] - logits[theirs[first]])
            assert gap <= share * logits.abs().max(), (asked, first, ours, theirs)


def test_what_inductor_makes_of_a_model_gives_the_tokens_of_eager(llama):
    """The one fast test that generates code for a CPU, as that takes its time."""
    with (
        opened(JitStrategy(), llama, (workload(5), workload(40))) as jit,
        opened(EagerStrategy(), llama) as eager,
    ):
        for asked in (request(5), request(17), request(40)):
            assert_same_up_to_ties(jit, eager, asked, TOLERANCE["float32"])
            ours, theirs = jit.next_token_logits(asked.prompts), eager.next_token_logits(asked.prompts)
            assert (ours - theirs).abs().max() <= TOLERANCE["float32"] * theirs.abs().max()
        drawn = request(sampling=DEFAULT_SAMPLING)
        assert answer(jit, drawn) == answer(jit, drawn)
        evidence = jit.evidence()
    counts = (evidence.compiled_regions, evidence.graph_breaks, evidence.recompiles, evidence.kernel_fallbacks)
    assert counts == (2, 0, 0, 0)  # a prefill for all lengths, a decode step
    assert (evidence.graphs_captured, evidence.graphs_replayed) == (None, None)
    *before, rewrites, cache, late = evidence.notes
    assert before == ["attention: sdpa", "dtype: float32", "static cache: 64 positions"]
    assert re.fullmatch(r"rewrites: compute last position only [1-9]\d*", rewrites)
    assert cache in {"compile cache: cold", "compile cache: warm", "compile cache: 1 of 2 regions were there"}
    assert late.startswith("passes prepared after opening: ")


@pytest.mark.slow
def test_what_was_compiled_before_is_found_and_noted(llama):
    with opened(JitStrategy(), llama, (workload(5),)):
        pass
    with opened(JitStrategy(), llama, (workload(5),)) as jit:
        assert "compile cache: warm" in jit.evidence().notes


@pytest.mark.parametrize("kind", ["gemma3_text", "gpt2"])
def test_other_families_are_compiled_whole_and_says_what_eager_says(kind, tracing):
    model = small_model(kind)
    eager = SampledStep(EagerForward(model), CPU)
    use_static_attention(model)
    regions = Regions()
    step = StaticStep(model, regions.prepare, regions.compile)
    step.expect([workload(7), workload(40)])
    compiled = regions.compiled
    for asked in (request(7), request(40), request(9)):
        assert step_answer(step, asked) == step_answer(eager, asked)
    evidence = regions.evidence()
    assert (evidence.graph_breaks, evidence.recompiles, evidence.kernel_fallbacks) == (0, 0, 0)
    assert compiled == evidence.compiled_regions == (3 if kind == "gemma3_text" else 2)  # its window takes a prefill


def step_answer(step, asked):
    return [chunk.token_ids[0] for chunk in Decoder(step, CPU, ()).stream(asked)]


def test_nothing_is_compiled_while_what_was_expected_runs(llama, tracing):
    with opened(JitStrategy(), llama, (workload(5), workload(40))) as jit:
        for _ in range(2):
            for asked in (request(5), request(40), request(5, sampling=FLAT), request(23)):
                answer(jit, asked)
        with torch.inference_mode():
            answer(jit, request(40))
            answer(jit, request(12))
        evidence = jit.evidence()
        assert (evidence.compiled_regions, evidence.recompiles) == (2, 0)
        assert invalid(jit) == ()


@pytest.mark.parametrize(
    ("asked", "more"),
    [(request(1), 1), (request(5, rows=3), 2), (request(50), 2)],
    ids=["one token", "batch", "longer than the cache"],
)
def test_what_was_not_compiled_at_open_is_compiled_when_first_asked_for_and_noted(llama, tracing, asked, more):
    with opened(JitStrategy(), llama, (workload(5),)) as jit:
        for _ in range(2):
            answer(jit, asked)
        evidence = jit.evidence()
        assert (evidence.compiled_regions, evidence.recompiles) == (2 + more, 0)
        assert evidence.notes[-1] == f"passes prepared after opening: {more}"


def test_logits_of_a_length_that_no_request_had_are_no_recompilation(llama, tracing):
    with opened(JitStrategy(), llama, (workload(5),)) as jit:
        jit.next_token_logits(((7,),))
        assert jit.evidence().recompiles == 0


def test_what_has_to_be_compiled_anew_in_a_timed_request_makes_the_cell_invalid(llama, tracing):
    with opened(JitStrategy(), llama, (workload(5),)) as jit:
        torch.use_deterministic_algorithms(True)  # which torch compiles for
        try:
            answer(jit, request(5))
        finally:
            torch.use_deterministic_algorithms(False)
        assert invalid(jit) == ("2 recompilations fell into the measured window",)


def test_a_compilation_that_is_switched_off_is_refused(llama, tracing):
    with (
        dynamo.patch(disable=True),
        pytest.raises(StrategyUnavailableError, match=r"without compiling it; .*TORCH_COMPILE_DISABLE.*eager$"),
        opened(JitStrategy(), llama, (workload(5),)),
    ):
        pass


def test_a_compilation_that_is_switched_off_later_makes_the_cell_invalid(llama, tracing):
    with opened(JitStrategy(), llama, (workload(5),)) as jit:
        with dynamo.patch(disable=True), pytest.raises(StrategyUnavailableError, match="without compiling it"):
            answer(jit, request(1))
        assert invalid(jit) == ("1 kernel fallbacks: not everything ran as the strategy says",)


def test_more_variants_than_torch_allows_are_refused(llama, tracing, monkeypatch):
    monkeypatch.setattr(torch._dynamo, "mark_dynamic", lambda ids, dimension: None)  # a variant for every length
    with (
        dynamo.patch(recompile_limit=3),
        pytest.raises(
            StrategyUnavailableError, match=r"once more after 3 variants, where torch stops compiling .*eager"
        ),
        opened(JitStrategy(), llama, [workload(tokens) for tokens in (4, 5, 6, 7)]),
    ):
        pass


def test_a_request_beyond_the_recompile_limit_breaks_and_the_others_go_on(llama, tracing):
    with dynamo.patch(recompile_limit=1), opened(JitStrategy(), llama, (workload(5),)) as jit:
        expected = answer(jit, request(5))
        with pytest.raises(StrategyUnavailableError, match="once more after 1 variants"):
            answer(jit, request(1))
        assert answer(jit, request(5)) == expected
        assert invalid(jit) == ()


@pytest.fixture
def lenient(monkeypatch):
    """torch.compile as it is by default: what it cannot compile it runs as it is, and says nothing."""
    monkeypatch.setattr(torch, "compile", functools.partial(lenient_compile, torch.compile))


def lenient_compile(compile_strictly, run, **options):
    return compile_strictly(run, **{**options, "fullgraph": False})


def test_a_recompile_limit_that_torch_keeps_silent_about_makes_the_cell_invalid(llama, tracing, lenient):
    with dynamo.patch(recompile_limit=1), opened(JitStrategy(), llama, (workload(5),)) as jit:
        with pytest.raises(StrategyUnavailableError, match="without compiling it"):
            answer(jit, request(1))
        assert invalid(jit) == ("1 kernel fallbacks: not everything ran as the strategy says",)


def broken_up(run):
    """A forward pass in which torch has to leave its graph once."""

    def forward(*args, **kwargs):
        output = run(*args, **kwargs)
        torch._dynamo.graph_break()
        return output

    return forward


@pytest.fixture
def with_break(monkeypatch):
    from transformers import LlamaForCausalLM

    monkeypatch.setattr(LlamaForCausalLM, "forward", broken_up(LlamaForCausalLM.forward))


def test_a_model_that_breaks_the_graph_is_refused(llama, tracing, with_break):
    with (
        pytest.raises(
            StrategyUnavailableError, match=r"^a pass of this model cannot be compiled as a whole \(.*eager$"
        ),
        opened(JitStrategy(), llama, (workload(5),)),
    ):
        pass


def test_a_graph_break_that_torch_keeps_silent_about_makes_the_cell_invalid(llama, tracing, with_break, lenient):
    with opened(JitStrategy(), llama, (workload(5),)) as jit:
        answer(jit, request(5))
        assert any("graph breaks" in problem for problem in invalid(jit))


@pytest.mark.filterwarnings("ignore:dynamo_pgo force disabled")
def test_without_a_compiler_it_says_which_one_it_needs(llama):
    missing = torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True})
    with (
        missing,
        pytest.raises(StrategyUnavailableError, match=r"needs a C\+\+ compiler .*apt-get install g\+\+.*CXX"),
        opened(JitStrategy(), llama, (workload(5),)),
    ):
        pass


def test_running_out_of_memory_while_compiling_says_the_sizes(llama, monkeypatch):
    def exhaust(graph, inputs, options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch._inductor, "compile", exhaust)
    with (
        pytest.raises(DeviceMemoryError, match=r"out of memory preparing the prefill of 5 tokens .*; lower the"),
        opened(JitStrategy(), llama, (workload(5),)),
    ):
        pass


def test_closing_lets_go_of_the_model_and_its_caches(llama, tracing):
    with opened(JitStrategy(), llama, (workload(5),)) as jit:
        answer(jit, request(5))
        weights = weakref.ref(next(jit.loaded.model.parameters()))
        cache = weakref.ref(jit._step.lane(1, 25).forward._layers[0].keys)
    gc.collect()
    assert (weights(), cache()) == (None, None)


def test_a_longer_cache_comes_when_the_shorter_one_is_gone(llama, tracing):
    with opened(JitStrategy(), llama, (workload(5),)) as jit:
        cache = weakref.ref(jit._step.lane(1, 25).forward._layers[0].keys)
        jit._step.lane(1, 100)
        assert cache() is None


def test_what_is_not_open_says_so():
    strategy = JitStrategy()
    for ask in (strategy.facts, strategy.evidence, strategy.memory, lambda: strategy.next_token_logits(((1,),))):
        with pytest.raises(RuntimeError, match="not open"):
            ask()


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", ["tiny", *STATIC])
def test_on_a_gpu_greedy_tokens_are_those_of_eager_up_to_ties(tmp_path, kind, dtype):
    if kind != "tiny":
        small_model(kind).save_pretrained(tmp_path)
    spec = ModelSpec(name=kind if kind == "tiny" else str(tmp_path), dtype=dtype)
    with (
        opened(JitStrategy(), spec, (workload(40), workload(7), workload(20, rows=4))) as jit,
        opened(EagerStrategy(), spec) as eager,
    ):
        for asked in (request(40), request(7), request(20, rows=4), request(23)):
            assert_same_up_to_ties(jit, eager, asked, TOLERANCE[dtype])
        assert invalid(jit) == ()


@pytest.mark.gpu
@on_gpu
def test_closing_gives_the_memory_of_the_gpu_back():
    held = []
    for _ in range(3):
        with opened(JitStrategy(), ModelSpec(name="tiny"), (workload(), workload(rows=4))) as strategy:
            answer(strategy, request())
        held.append(torch.cuda.memory_allocated())
    assert held[1] == held[2]  # the first leaves the libraries' workspace behind
