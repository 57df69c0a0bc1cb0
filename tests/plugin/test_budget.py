"""When a run ends, told by a scripted clock."""

import pytest

from perfsuite.core.units import NS_PER_S
from perfsuite.plugin.budget import FACTOR, Budget

TRIALS_S, FIRST_PASS_S, SESSION_S = 50, 10, 10


class Clock:
    """Moved by the test."""

    now_s = 1000

    def now_ns(self) -> int:
        return self.now_s * NS_PER_S


def further_sessions(given_s: int | None, *, is_endless: bool = False) -> int:
    """How many sessions start after a first pass behind a trial of neighbours; 1,000 are wanted."""
    clock, trials_ns, further = Clock(), TRIALS_S * NS_PER_S, 0
    budget = Budget(None if given_s is None else given_s * NS_PER_S, clock)
    clock.now_s += TRIALS_S + FIRST_PASS_S
    assert budget.end_first_pass(trials_ns, is_endless=is_endless) == FIRST_PASS_S * NS_PER_S
    while further < 1000 and not budget.is_over(trials_ns):
        further += 1
        clock.now_s += SESSION_S
    return further


def test_a_budget_that_is_given_is_that_of_the_whole_run() -> None:
    """After 90 s no further session starts: 50 of them went for the trial, 10 for the first pass."""
    assert further_sessions(90) == 3


def test_a_run_without_a_budget_ends_after_so_many_first_passes_however_long_trials_took() -> None:
    assert further_sessions(None) == FACTOR - FIRST_PASS_S // SESSION_S


@pytest.mark.parametrize(("given_s", "further"), [(None, 1000), (90, 3)])
def test_where_there_is_to_be_no_end_only_a_budget_that_is_given_ends_it(given_s: int | None, further: int) -> None:
    assert further_sessions(given_s, is_endless=True) == further


def test_who_asked_for_the_end_is_told_apart_from_who_did_not() -> None:
    clock = Clock()
    asked, unasked = Budget(28 * NS_PER_S, clock), Budget(None, clock)
    clock.now_s += 7
    unasked.end_first_pass()
    assert asked.told(2, "session") == "--perf-budget: 2 cells want another session, but 28.0 s are spent"
    assert unasked.told(1, "twin session") == (
        "1 cell wants another twin session, but 4 times the first pass (28.0 s) is over; "
        "give more time with --perf-budget"
    )
