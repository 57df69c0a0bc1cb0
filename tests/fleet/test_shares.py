"""How the work of a round is cut for several places."""

from collections.abc import Sequence

import pytest

from perfsuite.core.matrix import Cell
from perfsuite.fleet.shares import STARTING_NS, Expected, cut, longest_first, session_ns
from perfsuite.measure.session_check import CHECK_AGAIN_NS, CHECK_NS
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

    def expected(cells: Sequence[Cell], opening: int = 20) -> int:
        return opening + 4 * len(cells)

    assert cut([EAGER, JIT], 2, expected) == [EAGER, JIT]
    assert len(cut([EAGER, JIT], 2, lambda cells: expected(cells, opening=1))) > 2


def test_what_nobody_knows_comes_first_then_the_longest() -> None:
    known = {"eager": 10, "jit": 20, "fake": None}
    groups = [[make_cell(name)] for name in ("eager", "jit", "fake")]
    ordered = longest_first(groups, lambda cells: known[cells[0].strategy])
    assert [cells[0].strategy for cells in ordered] == ["fake", "jit", "eager"]


@pytest.mark.parametrize(("was_checked", "check_ns"), [(False, CHECK_NS), (True, CHECK_AGAIN_NS)])
def test_a_session_takes_its_startup_once_all_of_its_requests_and_the_look_at_its_tokens(
    was_checked: bool, check_ns: int
) -> None:
    one, other = (make_recording(cell, n=4) for cell in EAGER[:2])
    requests = sum(sample.e2e_ns for each in (one, other) for sample in (*each.warmups, *each.samples))
    spent_ns = session_ns([one, other], was_checked=was_checked)
    assert spent_ns == STARTING_NS + one.startup_ns + requests + check_ns
