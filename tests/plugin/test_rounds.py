"""Which strategies take turns, and how often."""

from dataclasses import replace

import pytest

from perfsuite.plugin.rounds import LONG_PASS_NS, Rounds
from tests.builders import make_cell

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
