"""Quantized models run under every in-process strategy, in less memory, and what is for plain weights skips them."""

import pytest
import torch

from perfsuite.core.errors import StrategyUnavailableError
from perfsuite.core.workload import DEFAULT_SAMPLING, ModelSpec
from perfsuite.measure.opening import opened
from perfsuite.models.load import load
from perfsuite.models.storage import is_plain
from perfsuite.strategies._decode import Decoder, SampledStep
from perfsuite.strategies._fusion import fuse_norms, fuse_projections, fuse_rotations
from perfsuite.strategies._skinny import use_skinny_products
from perfsuite.strategies._static import use_static_attention
from perfsuite.strategies._static_step import StaticStep
from perfsuite.strategies.cuda_graph import CudaGraphStrategy
from perfsuite.strategies.eager import EagerForward, EagerStrategy
from perfsuite.strategies.fake import FakeStrategy
from perfsuite.strategies.jit import JitStrategy
from perfsuite.strategies.jit_cuda_graph import JitCudaGraphStrategy
from tests.strategies.families import small_model
from tests.strategies.test_jit import TOLERANCE, answer, assert_same_up_to_ties, invalid, request, workload
from tests.strategies.tracing import traced_only

CPU = torch.device("cpu")
KINDS = ("int8", "fp8")
ON_GPU = (EagerStrategy, CudaGraphStrategy, JitStrategy, JitCudaGraphStrategy)

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
pytest.importorskip("torchao")


@pytest.fixture(scope="module")
def one_layer(tmp_path_factory):
    """A llama of one layer, as every other is compiled as the first."""
    folder, model = tmp_path_factory.mktemp("llama"), small_model("llama")
    model.model.layers = model.model.layers[:1]
    model.config.num_hidden_layers = 1
    model.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_eager_answers_notes_what_it_runs_and_takes_less_memory(kind):
    specs = [ModelSpec(name="tiny", device="cpu", quantization=each) for each in (None, kind)]
    with opened(EagerStrategy(), specs[0]) as plain, opened(EagerStrategy(), specs[1]) as small:
        drawn = request(sampling=DEFAULT_SAMPLING)
        assert answer(small, drawn) == answer(small, drawn)
        assert small.memory().weights < 0.31 * plain.memory().weights
        assert small.evidence().notes[-1].startswith(f"quantization: {kind} weight-only (torchao ")
        assert not any("quantization" in note for note in plain.evidence().notes)


@pytest.mark.parametrize(
    ("kind", "is_traced_only"),
    [("int8", True), ("fp8", True), pytest.param("int8", False, marks=pytest.mark.slow)],  # code for a CPU takes time
)
def test_jit_compiles_a_quantized_model_as_a_whole_and_says_what_eager_says(
    one_layer, kind, is_traced_only, monkeypatch
):
    if is_traced_only:
        traced_only(monkeypatch)
    spec = ModelSpec(name=one_layer, device="cpu", quantization=kind)
    with opened(JitStrategy(), spec, (workload(5), workload(40))) as jit, opened(EagerStrategy(), spec) as eager:
        for asked in (request(5), request(40), request(17)):
            assert_same_up_to_ties(jit, eager, asked, TOLERANCE["float32"])
        ours, theirs = (each.next_token_logits(request(5).prompts) for each in (jit, eager))
        assert (ours - theirs).abs().max() <= TOLERANCE["float32"] * theirs.abs().max()
        assert jit.evidence().compiled_regions == 2
        assert jit.memory() == eager.memory()
        assert invalid(jit) == ()


@pytest.mark.parametrize("kind", KINDS)
def test_passes_over_a_static_cache_give_what_eager_gives_with_what_can_be_fused_fused(kind):
    spec = ModelSpec(name="tiny", device="cpu", quantization=kind)
    eager, fused = load(spec).model, load(spec).model
    assert (fuse_projections(fused), fuse_norms(fused), fuse_rotations(fused)) == (0, 9, 4)
    use_static_attention(fused)
    step = StaticStep(fused)
    step.expect([workload(20)])
    ours, theirs = (
        [chunk.token_ids for chunk in Decoder(each, CPU, ()).stream(request(20))]
        for each in (step, SampledStep(EagerForward(eager), CPU))
    )
    assert ours == theirs


def test_products_for_plain_weights_leave_quantized_ones_alone():
    model = load(ModelSpec(name="tiny", device="cpu", dtype="float16", quantization="int8")).model
    assert use_skinny_products(model) == 1  # the head
    linear = model.model.layers[0].mlp.up_proj
    assert type(linear) is torch.nn.Linear
    assert not is_plain(linear.weight)


def test_a_strategy_that_does_not_say_that_it_quantizes_is_not_opened():
    with (
        pytest.raises(StrategyUnavailableError, match=r"'fake' cannot quantize weights to int8; drop the flag, or use"),
        opened(FakeStrategy(), ModelSpec(name="tiny", quantization="int8")),
    ):
        pass


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", ON_GPU[1:])
def test_greedy_tokens_are_those_of_quantized_eager_up_to_ties(strategy, kind, dtype):
    spec = ModelSpec(name="tiny", dtype=dtype, quantization=kind)
    with (
        opened(strategy(), spec, (workload(40), workload(7), workload(20, rows=4))) as ours,
        opened(EagerStrategy(), spec) as eager,
    ):
        for asked in (request(40), request(7), request(20, rows=4), request(23)):
            assert_same_up_to_ties(ours, eager, asked, TOLERANCE[dtype])
        assert invalid(ours) == ()


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", ON_GPU)
def test_weights_and_peaks_on_a_gpu_are_those_of_the_small_model(strategy, kind):
    """1.9 GB of linear layers and 0.26 GB of tables; int8 is 0.57 of that, and a cache and a pass need little more."""
    taken = {}
    for quantization in (None, kind):
        spec = ModelSpec(name="tinyllama-1.1b", dtype="float16", quantization=quantization)
        with opened(strategy(), spec, (workload(20),)) as live:
            answer(live, request(20))
            taken[quantization] = live.memory()
    assert taken[kind].weights < 0.57 * taken[None].weights
    assert taken[kind].peak_allocated < 0.8 * taken[None].peak_allocated
