"""Several checks of one strategy count as one."""

from perfsuite.core.sampling_check import SamplingCheck, joined, repeated


def test_what_one_check_excludes_is_excluded_and_what_one_finds_is_found() -> None:
    found = joined(
        (
            SamplingCheck(draws=10, told=("a", "b", "c"), open=("a", "b")),
            SamplingCheck(draws=5, told=("a",), problems=("support",)),
            SamplingCheck(not_checked="no logits"),
        )
    )
    assert found == SamplingCheck(
        draws=15, told=("a", "b", "c"), open=("b",), problems=("support",), not_checked="no logits"
    )


def test_what_a_part_left_out_is_left_out() -> None:
    found = joined((SamplingCheck(draws=9, left_out=("answers",)), SamplingCheck(draws=2)))
    assert found.left_out == ("answers",)


def test_what_one_session_had_time_for_is_not_left_out_and_nothing_is_checked_if_none_looked() -> None:
    quick = SamplingCheck(draws=2, left_out=("answers", "first tokens"))
    unlooked = SamplingCheck(not_checked="no logits")
    assert repeated((SamplingCheck(draws=9, left_out=("answers",)), quick, unlooked)).left_out == ("answers",)
    assert repeated((SamplingCheck(draws=9), quick)).left_out == ()
    assert repeated((unlooked, SamplingCheck(not_checked="no time"))) == unlooked


def test_a_check_is_complete_if_it_looked_at_everything() -> None:
    assert SamplingCheck(draws=2).is_complete
    assert not SamplingCheck(draws=2, left_out=("answers",)).is_complete
    assert not SamplingCheck(not_checked="no logits").is_complete


def test_nothing_joined_is_nothing_found() -> None:
    assert joined(()) == repeated(()) == SamplingCheck()
