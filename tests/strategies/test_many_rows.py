"""Products of many rows are right by whichever way a trial takes, and cuBLASLt's algorithms are among the ways."""

import pytest
import torch
from torch.nn import functional

from perfsuite.strategies import _cublaslt, _many_rows
from perfsuite.strategies._cublaslt import Shape

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
MANY, DEEP, WIDE = 24, 64, 48


@pytest.fixture(autouse=True)
def forgotten():
    for choice in (_many_rows._whole, _many_rows._halved):
        choice.cache_clear()
    yield
    for choice in (_many_rows._whole, _many_rows._halved):
        choice.cache_clear()


def drawn(many, deep, wide, dtype, device):
    generator = torch.Generator(device).manual_seed(0)
    rows, weight = (torch.randn((each, deep), generator=generator, device=device).to(dtype) for each in (many, wide))
    return rows, weight, functional.linear(rows.double(), weight.double())


def is_near(found, exact, dtype):
    return (found.double() - exact).norm() / exact.norm() < (0.001 if dtype == torch.float16 else 0.005)


@pytest.mark.parametrize("place", [0, 1])
def test_every_way_of_torch_multiplies(place, monkeypatch):
    monkeypatch.setattr(_many_rows, "fastest", lambda ways: place)
    rows, weight, exact = drawn(MANY, DEEP, WIDE, torch.bfloat16, "cpu")
    out, halves = (torch.full(shape, torch.nan).bfloat16() for shape in ((MANY, WIDE), (2, MANY, WIDE)))
    _many_rows.multiply(rows, weight, out)
    _many_rows.multiply_in_halves(rows, weight, halves)
    assert is_near(out, exact, torch.bfloat16)
    assert is_near(halves.double().sum(0), exact, torch.bfloat16)
    assert bool(halves[1].any()) == (place == 1)


def test_a_shape_is_tried_once(monkeypatch):
    trials = []
    monkeypatch.setattr(_many_rows, "fastest", lambda ways: trials.append(len(ways)) or 0)
    rows, weight, _ = drawn(MANY, DEEP, WIDE, torch.bfloat16, "cpu")
    out = torch.empty(MANY, WIDE).bfloat16()
    for _ in range(3):
        _many_rows.multiply(rows, weight, out)
    _many_rows.multiply(rows[:16], weight, out[:16])
    assert trials == [2, 2]


def test_rows_that_do_not_lie_in_one_piece_are_multiplied_untried(monkeypatch):
    monkeypatch.setattr(_many_rows, "fastest", pytest.fail)
    wide, weight, _ = drawn(MANY, 2 * DEEP, WIDE, torch.bfloat16, "cpu")
    rows, weight = wide[:, DEEP:], weight[:, DEEP:].contiguous()
    exact = functional.linear(rows.double(), weight.double())
    out, halves = torch.empty(MANY, WIDE).bfloat16(), torch.empty(2, MANY, WIDE).bfloat16()
    _many_rows.multiply(rows, weight, out)
    _many_rows.multiply_in_halves(rows, weight, halves)
    assert is_near(out, exact, torch.bfloat16)
    assert is_near(halves.double().sum(0), exact, torch.bfloat16)


def test_without_a_gpu_cublaslt_names_nothing():
    assert _cublaslt.ways(Shape(MANY, DEEP, WIDE, torch.float16, torch.device("cpu"))) == []


def test_tensors_off_by_less_than_an_alignment_are_not_taken():
    numbers = torch.zeros(64, dtype=torch.float16)
    assert _cublaslt.takes(numbers[8:].view(7, 8))
    assert not _cublaslt.takes(numbers[4:60].view(7, 8))
    assert not _cublaslt.takes(numbers.view(8, 8).t())


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("many", [17, 50, 100, 400])
def test_every_algorithm_that_cublaslt_names_multiplies(many, parts, dtype):
    rows, weight, exact = drawn(many, 1024, 512, dtype, "cuda")
    ways = _cublaslt.ways(Shape(many, 1024, 512, dtype, rows.device, parts))
    assert len(ways) > 1
    for way in ways:
        out = torch.full((parts, many, 512), torch.nan, dtype=dtype, device="cuda")
        way(rows, weight, out)
        assert is_near(out.double().sum(0), exact, dtype)


@pytest.mark.gpu
@on_gpu
def test_an_algorithm_is_captured_on_the_stream_of_the_graph():
    rows, weight, exact = drawn(100, 1024, 512, torch.float16, "cuda")
    out, halves = (torch.zeros(shape, dtype=torch.float16, device="cuda") for shape in ((100, 512), (2, 100, 512)))
    way = _cublaslt.ways(Shape(100, 1024, 512, torch.float16, rows.device))[0]
    _many_rows.multiply_in_halves(rows, weight, halves)  # tried before it is captured
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        way(rows, weight, out)
        _many_rows.multiply_in_halves(rows, weight, halves)
    out.zero_()
    halves.zero_()
    torch.cuda.synchronize()
    assert not out.any()
    graph.replay()
    assert is_near(out, exact, torch.float16)
    assert is_near(halves.double().sum(0), exact, torch.float16)
