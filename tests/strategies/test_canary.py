"""The canaries of in-process strategies: the same small work every time, free of any strategy."""

import pytest
import torch

from perfsuite.core.canary import Canary
from perfsuite.strategies._canary import WIDTH, ForwardCanary, GraphCanary, _Model, canaries_on

CPU = torch.device("cpu")


def test_a_cpu_has_the_model_alone():
    assert [carried.canary for carried in canaries_on(CPU)] == [Canary.FORWARD]


def test_on_a_cpu_it_runs_and_has_no_device_time():
    (forward,) = canaries_on(CPU)
    forward.run()
    assert forward.device_ns() is None


def test_its_output_is_the_same_in_every_process_and_run():
    first, second = _Model(CPU), _Model(CPU)
    assert torch.equal(first.forward(), second.forward())
    assert torch.equal(first.forward(), second.forward())


def test_a_run_is_that_forward_pass(monkeypatch):
    passes = []
    forward = _Model.forward
    monkeypatch.setattr(_Model, "forward", lambda model: passes.append(forward(model)))
    canary = ForwardCanary(_Model(CPU))
    canary.run()
    canary.run()
    assert torch.equal(passes[0], passes[1])


def test_what_it_computes_has_never_changed():
    """Another workload under the same name would divide stored baselines by something else."""
    output = _Model(CPU).forward()
    assert output.shape == (100, WIDTH)
    assert output[0, :4].tolist() == pytest.approx([-0.3714, -1.8179, -0.5263, 0.5470], abs=1e-3)


def test_it_leaves_no_trace_in_the_random_numbers_of_others():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    canaries_on(CPU)[0].run()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_graph_computes_what_the_model_does_and_the_device_times_it():
    device = torch.device("cuda", 0)
    forward, graph = canaries_on(device)
    assert [forward.canary, graph.canary] == [Canary.FORWARD, Canary.GRAPH]
    assert isinstance(graph, GraphCanary)
    with torch.inference_mode():
        graph._output.zero_()
    graph.run()
    assert torch.allclose(graph._output, _Model(device).forward(), atol=1e-5)
    assert graph.device_ns() > 0
    assert forward.device_ns() is None
