"""What is said of sampling at the end of a run."""

from dataclasses import replace

import pytest

from perfsuite.core.sampling_check import SamplingCheck
from perfsuite.report.sampling import sampling
from tests.builders import make_cell, make_recording


def lines(*checks: SamplingCheck | None) -> list[str]:
    made = (replace(make_recording(session=index), sampling=check) for index, check in enumerate(checks))
    return [line.text for line in sampling(made)]


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (
            SamplingCheck(draws=80, told=("a", "b")),
            "80 draws are what the parameters ask for, 2 known mistakes ruled out",
        ),
        (
            SamplingCheck(draws=80, told=("a", "b", "c", "d"), open=("a", "b", "c")),
            "80 draws are what the parameters ask for, too few to rule out 3 of 4 known mistakes (a, b, …)",
        ),
        (
            SamplingCheck(
                draws=9, told=("a", "b"), open=("a",), left_out=("all first tokens", "the same seed once more")
            ),
            "9 draws are what the parameters ask for, too few to rule out 1 of 2 known mistakes (a); its time was over "
            "before all first tokens, the same seed once more",
        ),
        (
            SamplingCheck(draws=9, left_out=("all first tokens",)),
            "9 draws are what the parameters ask for; its time was over before all first tokens",
        ),
        (SamplingCheck(not_checked="it shows no logits"), "not checked: it shows no logits"),
        (SamplingCheck(draws=80, problems=("support: token 7",)), "not a legal sample: support: token 7"),
    ],
)
def test_a_line_says_what_was_found_of_a_strategy_on_a_model(check: SamplingCheck, words: str) -> None:
    assert lines(check) == [f"sampling of eager/tiny: {words}"]


def test_sessions_count_together() -> None:
    one = SamplingCheck(draws=80, told=("a", "b"), open=("a",))
    assert lines(one, replace(one, open=("b",))) == [
        "sampling of eager/tiny: 160 draws are what the parameters ask for, 2 known mistakes ruled out"
    ]


def test_sessions_that_looked_at_nothing_are_counted_where_others_looked() -> None:
    over = SamplingCheck(not_checked="the time for it was over after its first passes")
    assert lines(SamplingCheck(draws=80, told=("a",)), over, over) == [
        "sampling of eager/tiny: 80 draws are what the parameters ask for, 1 known mistake ruled out; "
        "2 of 3 checks looked at nothing: "
        "the time for it was over after its first passes"
    ]


def of_both_kinds(first: SamplingCheck, second: SamplingCheck) -> list[str]:
    """Two sessions of a cell for one row and one for two, which are checked apart."""
    kinds = ((make_cell(), first), (make_cell(rows=2), second))
    made = (replace(make_recording(cell, session=n), sampling=check) for n in (0, 1) for cell, check in kinds)
    return [line.text for line in sampling(made)]


def test_what_one_kind_of_check_had_time_for_is_still_left_out_of_another() -> None:
    rushed = SamplingCheck(draws=4, left_out=("whole answers",))
    assert of_both_kinds(SamplingCheck(draws=80, told=("a",)), rushed) == [
        "sampling of eager/tiny: 168 draws are what the parameters ask for, 1 known mistake ruled out; "
        "its time was over before whole answers"
    ]


def test_a_kind_that_no_session_looked_at_is_not_checked() -> None:
    assert of_both_kinds(SamplingCheck(draws=80, told=("a",)), SamplingCheck(not_checked="no logits")) == [
        "sampling of eager/tiny: not checked: no logits"
    ]


def test_cells_that_share_a_check_do_not_count_it_twice() -> None:
    check = SamplingCheck(draws=80, told=("a",))
    made = [replace(make_recording(make_cell(prompt=prompt)), sampling=check) for prompt in (10, 20)]
    assert [line.text for line in sampling(made)] == [
        "sampling of eager/tiny: 80 draws are what the parameters ask for, 1 known mistake ruled out"
    ]


def test_recordings_of_a_time_without_checks_say_nothing() -> None:
    assert lines(None) == []
