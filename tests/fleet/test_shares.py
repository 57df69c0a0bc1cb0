"""How the work of a round is cut for several places."""

from collections.abc import Sequence

import pytest

from perfsuite.core.matrix import Cell
from perfsuite.fleet.shares import OPENING_NS, Expected, cut, longest_first, spent_ns
from tests.builders import make_cell, make_recording

EAGER = [make_cell("eager", prompt=length) for length in (10, 50, 100, 150, 200)]
JIT = [make_cell("jit", prompt=length) for length in (10, 50)]


def unknown(_: Sequence[Cell]) -> None:
    """How long cells take of which nothing was measured yet."""


def taking(**seconds: float) -> Expected:
    """So many seconds a cell of each strategy."""
    return lambda cells: round(sum(seconds[cell.strategy] for cell in cells) * 10**9)


def test_with_a_group_for_every_place_of_which_nobody_knows_how_long_it_takes_nothing_is_cut() -> None:
    assert cut([EAGER, JIT], 2, unknown) == [EAGER, JIT]


@pytest.mark.parametrize("expected", [unknown, taking(eager=1, jit=1)])
def test_the_largest_group_is_halved_while_a_place_would_stay_empty(expected: Expected) -> None:
    assert cut([EAGER, JIT], 3, expected) == [EAGER[::2], EAGER[1::2], JIT]


def test_the_longest_is_halved_and_not_the_one_of_most_cells() -> None:
    assert cut([EAGER, JIT], 3, taking(eager=1, jit=100)) == [EAGER, JIT[:1], JIT[1:]]


def test_a_cell_is_not_cut() -> None:
    assert cut([EAGER[:1], JIT], 8, unknown) == [EAGER[:1], JIT[:1], JIT[1:]]


def test_no_cells_make_no_group() -> None:
    assert cut([], 2, unknown) == cut([[]], 2, taking()) == []


def test_a_group_that_all_others_would_wait_for_is_cut_though_no_place_is_empty() -> None:
    """One place would measure five cells of eager while the other, done with one of jit, rests."""
    assert cut([EAGER, JIT[:1]], 2, taking(eager=30, jit=1)) == [EAGER[::2], EAGER[1::2], JIT[:1]]


def test_groups_that_end_together_are_not_cut() -> None:
    assert cut([EAGER, JIT], 2, taking(eager=40, jit=100)) == [EAGER, JIT]


def test_a_group_is_not_cut_for_less_time_than_it_takes_to_open_a_strategy_again() -> None:
    opening = OPENING_NS / 10**9
    assert cut([EAGER, JIT], 2, taking(eager=opening / 5, jit=opening / 5)) == [EAGER, JIT]


def test_what_nobody_knows_comes_first_then_the_longest() -> None:
    known = {"eager": 10, "jit": 20, "fake": None}
    groups = [[make_cell(name)] for name in ("eager", "jit", "fake")]
    ordered = longest_first(groups, lambda cells: known[cells[0].strategy])
    assert [cells[0].strategy for cells in ordered] == ["fake", "jit", "eager"]


def test_a_session_takes_its_startup_once_and_all_of_its_requests() -> None:
    one, other = (make_recording(cell, n=4) for cell in EAGER[:2])
    requests = sum(sample.e2e_ns for each in (one, other) for sample in (*each.warmups, *each.samples))
    assert spent_ns([one, other]) == one.startup_ns + requests
    assert spent_ns([]) is None
