"""What an examination leaves open is looked for again, as long as there is time."""

from dataclasses import replace

import pytest

from perfsuite.core.workload import Workload
from perfsuite.measure import live_check
from perfsuite.measure.live_check import AGAIN_NS, PARAMETERS, PLAIN, ROUND_STEP, TIME_NS, check_strategy
from perfsuite.measure.telling import CANDIDATES
from tests.sampled import Sampled

PASSES_UNTIL_ASKED = 3 * CANDIDATES + 4
"""That prompts are chosen by, and that a question takes before its time is looked at."""
WORKLOAD = Workload(prompt_tokens=12, output_tokens=4, batch_size=4)


class Watched(Sampled):
    """Keeps the seeds it was asked with."""

    def __init__(self):
        super().__init__()
        self.seeds = set()

    def stream(self, request):
        self.seeds.add(request.sampling.seed)
        return super().stream(request)

    @property
    def rounds(self):
        return {seed // ROUND_STEP for seed in self.seeds if seed < 1_000_000}


@pytest.fixture(autouse=True)
def few_requests(monkeypatch):
    """So few that something stays open."""
    monkeypatch.setattr(live_check, "REQUESTS", 4)


def test_what_is_open_is_looked_for_again():
    strategy = Watched()
    assert check_strategy(strategy, WORKLOAD).problems == ()
    assert strategy.rounds > {0}


def seconds_taken(strategy):
    before = strategy.scripted_clock.now_ns()
    found = check_strategy(strategy, WORKLOAD, strategy.scripted_clock)
    return found, (strategy.scripted_clock.now_ns() - before) / 1e9


def test_after_a_while_what_is_open_is_not_looked_for_again():
    strategy = Watched()
    strategy.pass_ns = 40_000_000
    found, seconds = seconds_taken(strategy)
    assert seconds > AGAIN_NS / 1e9
    assert strategy.rounds == {0}
    assert found.problems == ()
    assert found.open


@pytest.mark.parametrize("pass_seconds", [0.2, 2.0, 10.0])
def test_what_there_is_no_time_for_is_left_out_and_said(pass_seconds):
    strategy = Watched()
    strategy.pass_ns = round(pass_seconds * 1e9)
    found, seconds = seconds_taken(strategy)
    assert seconds <= TIME_NS / 1e9 + PASSES_UNTIL_ASKED * pass_seconds
    assert found.problems == ()
    assert "temperature 0" in " ".join(found.left_out)


def test_what_is_made_ready_for_the_examination_takes_none_of_its_time():
    class Prepares(Watched):
        ready = ()

        def prepare(self, request):
            kind = replace(request.sampling, seed=0)
            if kind not in self.ready:
                self.ready = (*self.ready, kind)
                self.scripted_clock.wait_ns(TIME_NS)

    strategy = Prepares()
    found, seconds = seconds_taken(strategy)
    assert seconds > len(strategy.ready) * TIME_NS / 1e9
    assert set(strategy.ready) == {*PARAMETERS, PLAIN}
    assert found.left_out == found.problems == ()
    assert found.not_checked is None
