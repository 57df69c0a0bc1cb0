"""Over two GPUs and NCCL: what one GPU says, how fast ranks send, and what becomes of a rank that is killed."""

import pytest
import torch

from perfsuite.core.validity import problems
from perfsuite.measure.clock import HostClock
from perfsuite.measure.limits import measure_limits
from perfsuite.measure.opening import create, opened
from perfsuite.models import ranks
from tests.strategies.ranks import PROMPT, WORKLOAD, followers_of, is_alive, session_of, spec_of, tokens_of

STRATEGIES = {
    "eager": "perfsuite.strategies.eager:EagerStrategy",
    "cuda-graph": "perfsuite.strategies.cuda_graph:CudaGraphStrategy",
    "jit": "perfsuite.strategies.jit:JitStrategy",
    "jit-cuda-graph": "perfsuite.strategies.jit_cuda_graph:JitCudaGraphStrategy",
}
DRAWN = {"temperature": 0.7, "top_k": 50, "top_p": 0.9, "repetition_penalty": 1.1, "seed": 5}
TIE = 0.02
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices"),
]


@pytest.mark.parametrize("name", STRATEGIES)
def test_two_gpus_say_what_one_says(name):
    alone, rows = said_by_one(name)
    with opened(create(STRATEGIES[name]), spec_of("tiny", 2, device="cuda"), (WORKLOAD,)) as strategy:
        together = [tokens_of(strategy, temperature=0)[0] for _ in range(3)]
        assert len(tokens_of(strategy, **DRAWN)[0]) == 8  # a rank that draws other ids raises
        evidence, memory = strategy.evidence(), strategy.memory()
        link = measure_limits(strategy.gauges(), HostClock()).link
        (follower,) = followers_of(strategy)
        held = getattr(strategy, "_step", None)  # whoever still holds the graphs keeps no rank from parting
    assert not is_alive(follower)
    assert ranks.world_size() == 1
    assert together[1:] == together[:1] * 2
    assert_same_up_to_ties(together[0], alone, rows)
    assert {"tensor parallel: 2", "ranks: 2 processes by nccl"} <= set(evidence.notes)
    assert not any((evidence.graph_breaks, evidence.recompiles, evidence.kernel_fallbacks))
    if "graph" in name:
        assert evidence.graphs_replayed > 0
        assert held is not None
    assert memory.peak_reserved > 0
    assert link.measured > 0


def said_by_one(name):
    """Greedy tokens of one GPU, and the logits that each was drawn from."""
    with opened(create(STRATEGIES[name]), spec_of("tiny", 1, device="cuda"), (WORKLOAD,)) as strategy:
        tokens = tokens_of(strategy, temperature=0)[0]
        contexts = [(*PROMPT, *tokens[:index]) for index in range(len(tokens))]
        return tokens, [strategy.next_token_logits((context,))[0] for context in contexts]


def assert_same_up_to_ties(together, alone, rows):
    if together != alone:  # only where the two likeliest tokens are as good as equal
        step = next(index for index, pair in enumerate(zip(alone, together, strict=True)) if pair[0] != pair[1])
        best = rows[step].topk(2).values
        assert best[0] - best[1] <= TIE * rows[step].abs().max()


@pytest.mark.parametrize("name", ["KillsItsFollowerAt20", "KillsItsFollowerInAGraphAt20"])
def test_a_rank_killed_in_a_sum_of_nccl_costs_its_cell_and_nothing_that_was_measured(name):
    """So many steps that rank 0 comes to a sum that nobody else is in."""
    end = session_of(f"tests.strategies.ranks:{name}", device="cuda", output_tokens=16)
    assert (end.lost, end.died) == ("rank 1 of 2 was killed by SIGKILL", None)
    first, second = end.recordings
    assert (len(first.samples), first.failures, problems(first)) == (3, (), ())
    assert len(second.samples) < 3
    assert second.failures[0].message == "the process lost its device: rank 1 of 2 was killed by SIGKILL"
