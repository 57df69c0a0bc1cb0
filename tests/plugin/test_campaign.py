"""When a run ends, told by a scripted clock."""

from types import SimpleNamespace
from typing import Any

import pytest

from perfsuite.core.options import GateOptions, Options
from perfsuite.core.units import NS_PER_S
from perfsuite.plugin import campaign
from perfsuite.plugin.campaign import BUDGET_FACTOR, Campaign
from tests.builders import make_cell

TRIALS_S, FIRST_PASS_S, SESSION_S = 50, 10, 10


class Run(Campaign):
    """One cell that is never decided; every session takes as long, the first one behind a trial of neighbours."""

    def __init__(self, budget_s: int | None) -> None:
        budget_ns = None if budget_s is None else budget_s * NS_PER_S
        options = Options(gate=GateOptions(budget_ns=budget_ns))
        self.settings: Any = SimpleNamespace(options=options, update_noise=False)
        self.shelf: Any = SimpleNamespace(usable=())
        self.now_s, self.further = 1000, 0
        self._notes, self._compared = [], frozenset()
        cell = make_cell()
        self.sessions: Any = SimpleNamespace(
            cells=(cell,), count=lambda _: 0, measure=self._first_pass, heed=lambda _: None, took_turns=lambda _: False
        )
        self._sessions = self.sessions

    def _first_pass(self, _: object) -> None:
        self.now_s += TRIALS_S + FIRST_PASS_S

    def _load_baselines(self) -> None:
        """There are none."""

    def _wanting(self, sessions: Any) -> Any:
        return sessions.cells if self.further < 1000 else ()

    def _measure_more(self, sessions: Any, cells: Any) -> None:
        self.further += 1
        self.now_s += SESSION_S


def further_sessions(budget_s: int | None, monkeypatch: pytest.MonkeyPatch) -> int:
    run = Run(budget_s)
    monkeypatch.setattr(campaign, "HostClock", lambda: SimpleNamespace(now_ns=lambda: run.now_s * NS_PER_S))
    fleet: Any = SimpleNamespace(trials_ns=TRIALS_S * NS_PER_S)
    run._measure_to_the_end(run.sessions, fleet)
    return run.further


def test_a_budget_that_is_given_is_that_of_the_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 90 s no further session starts: 50 of them went for the trial, 10 for the first pass."""
    assert further_sessions(90, monkeypatch) == 3


def test_a_run_without_a_budget_ends_after_so_many_first_passes_however_long_trials_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert further_sessions(None, monkeypatch) == BUDGET_FACTOR - FIRST_PASS_S // SESSION_S
