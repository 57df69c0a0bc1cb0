"""How the work of a round is cut for several places."""

from perfsuite.fleet.shares import cut, longest_first, spent_ns
from tests.builders import make_cell, make_recording

EAGER = [make_cell("eager", prompt=length) for length in (10, 50, 100, 150, 200)]
JIT = [make_cell("jit", prompt=length) for length in (10, 50)]


def test_with_a_group_for_every_place_nothing_is_cut() -> None:
    assert cut([EAGER, JIT], 2) == [EAGER, JIT]


def test_the_largest_group_is_halved_while_a_place_would_stay_empty() -> None:
    assert cut([EAGER, JIT], 3) == [EAGER[::2], EAGER[1::2], JIT]


def test_a_cell_is_not_cut() -> None:
    assert cut([EAGER[:1], JIT], 8) == [EAGER[:1], JIT[:1], JIT[1:]]


def test_no_cells_make_no_group() -> None:
    assert cut([], 2) == []


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
