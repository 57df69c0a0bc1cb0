"""Which strategies take turns, and how often."""

from dataclasses import replace

import pytest

from perfsuite.measure.clock import ScriptedClock
from perfsuite.measure.launcher import SessionEnd
from perfsuite.measure.session import SessionJob
from perfsuite.plugin.rounds import LONG_PASS_NS, Rounds
from tests.builders import make_cell, make_recording

EAGER, JIT = make_cell("eager"), make_cell("jit")
ARMS = {(cell.strategy, cell.model): [cell] for cell in (EAGER, JIT)}


@pytest.mark.parametrize(
    ("interleave", "stored", "together"),
    [("auto", False, True), ("auto", True, False), ("on", True, True), ("off", False, False)],
)
def test_strategies_of_a_model_take_turns_unless_a_baseline_judges_them(interleave, stored, together) -> None:
    groups = Rounds(interleave, lambda _: stored).groups(ARMS)
    assert groups == ([[[EAGER], [JIT]]] if together else [[[EAGER]], [[JIT]]])


def test_another_model_is_another_turn() -> None:
    other = replace(JIT, model=replace(JIT.model, name="llama-2-7b"))
    groups = Rounds("on", lambda _: False).groups({("eager", EAGER.model): [EAGER], ("jit", other.model): [other]})
    assert groups == [[[EAGER]], [[other]]]


@pytest.mark.parametrize(
    ("interleave", "taken_ns", "repeats"),
    [("auto", LONG_PASS_NS, True), ("auto", LONG_PASS_NS + 1, False), ("on", LONG_PASS_NS + 1, True)],
)
def test_a_long_pass_is_not_repeated_unless_it_was_asked_for(interleave, taken_ns, repeats) -> None:
    rounds = Rounds(interleave, lambda _: False)
    rounds.heed(taken_ns)
    assert rounds.repeat is repeats
    assert ("--perf-interleave on" in " ".join(rounds.notes)) is not repeats


@pytest.mark.parametrize(("interleave", "takes_turns"), [("auto", False), ("on", True)])
def test_turns_that_nobody_asked_for_end_after_a_long_pass(monkeypatch, interleave, takes_turns) -> None:
    """And whatever ended is told at once, with those that it took turns with to its end."""
    clock = ScriptedClock()
    ends = [SessionEnd(recordings=(make_recording(cell),)) for cell in (EAGER, JIT)]

    def measured(jobs, on_progress, *, seed, room, goes_on, on_end):
        assert goes_on()
        clock.wait_ns(LONG_PASS_NS + 1)
        assert goes_on() is takes_turns
        for index, end in enumerate(ends):
            on_end(index, end, frozenset({1 - index}) if goes_on() else frozenset())
        return tuple(ends)

    monkeypatch.setattr("perfsuite.plugin.rounds.run_in_rounds", measured)
    rounds, told = Rounds(interleave, lambda _: False, clock), []
    jobs = [SessionJob(reference="x:Y", cells=(cell,), session=0, measure=None) for cell in (EAGER, JIT)]
    found = rounds.run(jobs, lambda job, progress: None, told.append)
    assert found == tuple(told)
    assert [end.recordings[0].beside for end in told] == ([("jit",), ("eager",)] if takes_turns else [(), ()])
    assert rounds.repeat is takes_turns
    assert ("one after the other from then on" in " ".join(rounds.notes)) is not takes_turns
