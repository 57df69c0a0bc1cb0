"""A model split over two processes answers as on one device, and a rank that is gone is named."""

import sys
from types import SimpleNamespace

import pytest
import torch

from perfsuite.core.errors import OptionError, StrategyUnavailableError
from perfsuite.core.roofline import Limit
from perfsuite.core.sample import Request
from perfsuite.core.workload import SamplingParams
from perfsuite.measure.clock import HostClock
from perfsuite.measure.limits import measure_limits
from perfsuite.measure.opening import create, opened
from perfsuite.models import ranks
from tests.strategies.ranks import (
    PROMPT,
    WORKLOAD,
    opened_on,
    spec_of,
    tokens_of,
)

OTHER_PROMPT = tuple(range(100, 120))
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ranks find each other by local sockets")


@pytest.fixture(scope="module")
def one():
    with opened_on(1) as strategy:
        yield strategy


@pytest.fixture(scope="module")
def two():
    with opened_on(2) as strategy:
        yield strategy


@pytest.mark.parametrize("prompts", [(PROMPT,), (PROMPT, OTHER_PROMPT)], ids=["one row", "two rows"])
def test_greedy_tokens_are_those_of_one_device(one, two, prompts):
    assert tokens_of(two, prompts, temperature=0) == tokens_of(one, prompts, temperature=0)


def test_drawn_tokens_are_those_of_one_device(one, two):
    asked = {"temperature": 0.7, "top_k": 50, "top_p": 0.9, "repetition_penalty": 1.1, "seed": 5}
    assert tokens_of(two, **asked) == tokens_of(one, **asked)


def test_logits_are_those_of_one_device(one, two):
    assert torch.allclose(two.next_token_logits((PROMPT,)), one.next_token_logits((PROMPT,)), atol=1e-4)


def test_whoever_stops_listening_does_not_disturb_the_next_request(two):
    whole = tokens_of(two, temperature=0)
    stream = two.stream(Request(prompts=(PROMPT,), output_tokens=8, sampling=SamplingParams()))
    next(stream)
    stream.close()
    assert tokens_of(two, temperature=0) == whole


def test_a_request_that_is_refused_leaves_the_ranks_in_step(two):
    whole = tokens_of(two, temperature=0)
    with pytest.raises(OptionError, match="positions"):
        tokens_of(two, output_tokens=10_000)
    with pytest.raises(OptionError, match="slowing the device needs a GPU"):
        two.slow_device(0.1)
    assert tokens_of(two, temperature=0) == whole


def test_ranks_that_draw_other_tokens_are_named(two, monkeypatch):
    drawn = two._stream
    monkeypatch.setattr(
        two, "_stream", lambda request: (replaced(chunk, index) for index, chunk in enumerate(drawn(request)))
    )
    with pytest.raises(RuntimeError, match="rank 1 of 2 drew other tokens than rank 0, from token 3 on"):
        tokens_of(two, temperature=0)


def replaced(chunk, index):
    return SimpleNamespace(token_ids=(999,), row=0) if index == 3 else chunk


def test_it_says_over_how_many_ranks_and_counts_the_memory_of_all(one, two):
    notes = two.evidence().notes
    assert {"tensor parallel: 2", "ranks: 2 processes by gloo", "memory: sum over 2 ranks"} <= set(notes)
    assert one.evidence().note("tensor parallel") is None
    assert one.memory().weights < two.memory().weights < 1.2 * one.memory().weights  # norms and table are there twice
    assert two.memory().host_peak > 10**8
    assert two.facts().ranks == 2
    assert [ranks.world_size(), two.seat.rank] == [2, 0]


def test_the_rate_of_the_link_is_measured(two):
    limits = measure_limits(two.gauges(), HostClock())
    assert limits.link.measured > 0
    assert limits.words(Limit.LINK).startswith("link rate ")


def test_a_strategy_that_cannot_split_a_model_says_so():
    with (
        pytest.raises(StrategyUnavailableError, match="strategy 'fake' cannot split a model over GPUs"),
        opened(create("perfsuite.strategies.fake:FakeStrategy"), spec_of("tiny", 2), (WORKLOAD,)),
    ):
        pass
