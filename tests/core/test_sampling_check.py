"""Several checks of one strategy count as one."""

from perfsuite.core.sampling_check import SamplingCheck, joined


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


def test_nothing_joined_is_nothing_found() -> None:
    assert joined(()) == SamplingCheck()
