"""A team of ranks starts and ends whole, and a rank that is gone is named."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from perfsuite.core.errors import DeviceLostError, ModelLoadError, StrategyUnavailableError
from perfsuite.core.validity import problems
from perfsuite.models import ranks
from perfsuite.strategies import _team, _vigil
from perfsuite.strategies._follower import drawn
from perfsuite.strategies._launch import SIGNALS
from tests.strategies.ranks import (
    EAGER,
    JIT,
    PROMPT,
    TRACED_JIT,
    TRACED_UNCAPTURED_JIT,
    UNCAPTURED_JIT,
    followers_of,
    is_alive,
    opened_on,
    saved_model,
    session_of,
    tokens_of,
)

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ranks find each other by local sockets")


def test_threads_are_shared_and_given_back():
    before, handlers = torch.get_num_threads(), [signal.getsignal(each) for each in SIGNALS]
    with opened_on(2) as strategy:
        assert [signal.getsignal(each) for each in SIGNALS] == handlers  # which the elastic launch replaces
        with (
            pytest.raises(StrategyUnavailableError, match=r"has a torch.distributed process group already"),
            opened_on(2),
        ):
            pass
        assert tokens_of(strategy, temperature=0)
        assert torch.get_num_threads() == max(1, before // 2)
        followers = followers_of(strategy)
        assert all(map(is_alive, followers))
    assert torch.get_num_threads() == before
    assert not any(map(is_alive, followers))
    assert ranks.world_size() == 1


@pytest.mark.slow
def test_drawn_weights_of_another_architecture_give_the_tokens_of_one_device(tmp_path):
    """Grouped queries, norms of heads, and windows shorter than the prompt."""
    model = saved_model(tmp_path, "gemma3_text")
    said = []
    for size in (1, 2):
        with opened_on(size, model, EAGER, load_format="dummy") as strategy:
            said.append((tokens_of(strategy, temperature=0), strategy.next_token_logits((PROMPT,))))
    (alone, whole), (together, sum_of_parts) = said
    assert together == alone
    assert torch.allclose(sum_of_parts, whole, atol=1e-4 * whole.abs().max())


@pytest.mark.parametrize(
    "reference",
    [
        TRACED_JIT,
        TRACED_UNCAPTURED_JIT,
        pytest.param(JIT, marks=pytest.mark.slow),
        pytest.param(UNCAPTURED_JIT, marks=pytest.mark.slow),
    ],
)
def test_compiled_passes_are_whole_and_say_what_one_device_says(reference, tmp_path):
    model = saved_model(tmp_path, "qwen2")
    is_uncaptured = reference in {UNCAPTURED_JIT, TRACED_UNCAPTURED_JIT}
    dtype = "bfloat16" if is_uncaptured else "float32"
    with opened_on(1, model, EAGER, dtype=dtype) as strategy:
        whole = strategy.next_token_logits((PROMPT,))
        tokens = tokens_of(strategy, temperature=0)
    with opened_on(2, model, reference, dtype=dtype) as strategy:
        assert strategy.seat.size == 2
        said = strategy.next_token_logits((PROMPT,))
        counts = strategy.evidence()
        if is_uncaptured:
            assert strategy.skinny == 9
            assert (said - whole).abs().max() <= 0.05 * whole.abs().max()
        else:
            assert tokens_of(strategy, temperature=0) == tokens
            assert torch.allclose(said, whole, atol=1e-3 * whole.abs().max())
    assert (counts.graph_breaks, counts.recompiles, counts.kernel_fallbacks) == (0, 0, 0)


def test_a_rank_that_is_killed_is_named_and_leaves_nothing_behind():
    with opened_on(2) as strategy:
        (follower,) = followers_of(strategy)
        os.kill(follower, signal.SIGKILL)
        with pytest.raises(DeviceLostError, match=r"^rank 1 of 2 was killed by SIGKILL$"):
            tokens_of(strategy, temperature=0)
        with pytest.raises(DeviceLostError, match="rank 1 of 2"):
            strategy.next_token_logits((PROMPT,))
        assert strategy.memory().weights is None
    assert ranks.world_size() == 1
    with opened_on(1) as strategy:
        assert tokens_of(strategy, temperature=0)


def test_a_rank_that_does_not_go_on_is_named(monkeypatch):
    monkeypatch.setattr(_vigil, "STRAGGLING_S", 1.0)
    monkeypatch.setattr(_vigil, "LOOK_S", 0.2)
    with opened_on(2) as strategy:
        (follower,) = followers_of(strategy)
        os.kill(follower, signal.SIGSTOP)
        with pytest.raises(DeviceLostError, match=r"^rank 1 of 2 has taken no step of a request for 1 s$"):
            tokens_of(strategy, temperature=0)
    assert not is_alive(follower)


def test_a_rank_that_breaks_off_where_the_others_wait_for_it_is_told_in_its_own_words(monkeypatch):
    monkeypatch.setattr(_vigil, "UNREAD_S", 1.0)
    monkeypatch.setattr(_vigil, "LOOK_S", 0.2)
    with opened_on(2, reference="tests.strategies.ranks:BreaksOffOnRank1") as strategy:
        (follower,) = followers_of(strategy)
        with pytest.raises(DeviceLostError, match=r"^rank 1 of 2: cuda:1 is out of memory; lower the batch size$"):
            tokens_of(strategy, temperature=0)
    assert not is_alive(follower)


def test_a_rank_that_follows_collects_no_garbage_while_others_wait_for_it():
    """The recorder sees to it for the rank that answers."""
    collects = []

    def stream():
        for token in (7, 8):
            collects.append(gc.isenabled())
            yield SimpleNamespace(token_ids=(token,))

    assert drawn(stream) == (7, 8)
    assert collects == [False, False]
    assert gc.isenabled()


def test_graphs_are_gone_before_the_ranks_part():
    """NCCL would wait for their end for ever."""
    with opened_on(2, reference="tests.strategies.ranks:Uncaptured") as strategy:
        assert tokens_of(strategy, temperature=0)
        sizes = []
        strategy._pool = SimpleNamespace(release=lambda: sizes.append(ranks.world_size()))
    assert sizes == [2]
    assert ranks.world_size() == 1


def test_graphs_are_let_go_of_where_a_rank_has_ended():
    """A group that is given up does not end before them, either."""
    released = threading.Event()
    with opened_on(2, reference="tests.strategies.ranks:Uncaptured") as strategy:
        strategy._pool = SimpleNamespace(release=released.set)
        os.kill(followers_of(strategy)[0], signal.SIGKILL)
        with pytest.raises(DeviceLostError, match=r"^rank 1 of 2 was killed by SIGKILL$"):
            tokens_of(strategy, temperature=0)
        assert released.wait(timeout=60)


def test_a_rank_that_does_not_come_is_named(monkeypatch):
    monkeypatch.setattr(_team, "READY_S", 0.0)
    with pytest.raises(DeviceLostError, match=r"^rank 1 of 2 has not come for 0 s$"), opened_on(2):
        pass
    assert ranks.world_size() == 1


def test_a_rank_that_cannot_open_is_told_in_its_own_words(tmp_path):
    model = saved_model(tmp_path, "llama")
    with (
        pytest.raises((ModelLoadError, DeviceLostError), match="rank 1 of 2"),
        opened_on(2, model, "tests.strategies.ranks:OpensAloneOnly"),
    ):
        pass


KILLED_IN_A_REQUEST = """
import os, signal
from perfsuite.core.sample import Request
from perfsuite.core.workload import SamplingParams
from tests.strategies.ranks import PROMPT, followers_of, opened_on

with opened_on(2) as strategy:
    print(followers_of(strategy)[0], flush=True)
    for chunk in strategy.stream(Request(prompts=(PROMPT,), output_tokens=8, sampling=SamplingParams())):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nobody_is_left_behind_when_the_rank_that_answers_is_killed(tmp_path):
    command = [sys.executable, "-c", KILLED_IN_A_REQUEST]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # it cannot clean up behind itself
    killed = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    follower = int(killed.stdout)
    for _ in range(300):
        if not is_alive(follower):
            return
        time.sleep(0.1)
    pytest.fail(f"process {follower} is still there")


def test_an_interrupt_does_not_wait_for_the_other_ranks(monkeypatch):
    with opened_on(2) as strategy:

        def interrupted(request):
            raise KeyboardInterrupt
            yield

        monkeypatch.setattr(strategy, "_stream", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tokens_of(strategy)
        assert strategy.is_broken
        (follower,) = followers_of(strategy)
    assert not is_alive(follower)


def test_a_session_over_two_ranks_is_a_valid_recording_of_two_devices():
    first, second = session_of("perfsuite.strategies.eager:EagerStrategy", is_checked=True).recordings
    for recording in (first, second):
        assert (len(recording.samples), recording.failures, problems(recording)) == (3, (), ())
        assert recording.environment.device.startswith("2 x ")
        assert recording.evidence.note("tensor parallel") == "2"
        assert recording.roofline.limits.link.measured > 0
        assert recording.roofline.work.ranks == 2
        assert recording.sampling.problems == ()
        assert recording.sampling.draws > 0


def test_a_rank_killed_while_measuring_costs_its_cell_and_nothing_that_was_measured():
    end = session_of("tests.strategies.ranks:KillsItsFollowerAt20")
    assert end.lost == "rank 1 of 2 was killed by SIGKILL"
    assert end.culprit.workload.prompt_tokens == 20
    first, second = end.recordings
    assert (len(first.samples), first.failures) == (3, ())
    assert len(second.samples) < 3
    assert second.failures[0].message == "the process lost its device: rank 1 of 2 was killed by SIGKILL"
