"""What an examination leaves open is looked for again, as long as there is time."""

import pytest

from perfsuite.core.workload import Workload
from perfsuite.measure import live_check
from perfsuite.measure.live_check import AGAIN_NS, ROUND_STEP, check_strategy
from tests.sampled import Sampled

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


def test_when_the_time_is_over_what_is_open_stays_open():
    strategy = Watched()
    strategy.pass_ns = AGAIN_NS
    found = check_strategy(strategy, WORKLOAD, strategy.scripted_clock)
    assert strategy.rounds == {0}
    assert found.problems == ()
    assert found.open
