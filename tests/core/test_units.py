import pytest

from perfsuite.core.errors import OptionError
from perfsuite.core.units import (
    format_bytes,
    format_change,
    format_ms,
    format_percent,
    format_seconds,
    format_share,
    format_si,
    parse_duration,
    parse_percent,
    to_ms,
    to_s,
)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("250ms", 250_000_000),
        ("90s", 90_000_000_000),
        ("5m", 300_000_000_000),
        ("1.5h", 5_400_000_000_000),
        (" 2 s ", 2_000_000_000),
    ],
)
def test_a_duration_is_read_in_its_unit(text: str, nanoseconds: int) -> None:
    assert parse_duration(text, where="--perf-budget") == nanoseconds


@pytest.mark.parametrize("text", ["", "90", "s", "-5s", "0s", "0.0m", "1 day", "1e3s", "5 m s", "nan s", "infs"])
def test_a_text_that_is_no_duration_is_refused_with_its_flag_and_an_example(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_duration(text, where="--perf-budget")
    assert str(caught.value) == f"--perf-budget: {text!r} is not a duration; write for example '90s', '5m' or '1h'"


@pytest.mark.parametrize(("text", "fraction"), [("5%", 0.05), (" 12.5 % ", 0.125), ("150%", 1.5)])
def test_a_percentage_becomes_a_fraction(text: str, fraction: float) -> None:
    assert parse_percent(text, where="--perf-tolerance") == pytest.approx(fraction)


@pytest.mark.parametrize("text", ["", "5", "0.05", "0%", "-5%", "five%", "5%%", "%"])
def test_a_percentage_without_its_sign_or_not_above_zero_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="is not a percentage above zero; write for example '5%'"):
        parse_percent(text, where="--perf-tolerance")


def test_nanoseconds_become_milliseconds_and_seconds() -> None:
    assert (to_ms(1_500_000), to_s(1_500_000_000)) == (1.5, 1.5)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0"),
        (412_000, "0.412"),
        (4_312_000, "4.31"),
        (41_230_000, "41.2"),
        (412_400_000, "412"),
        (-4_312_000, "-4.31"),
    ],
)
def test_milliseconds_show_three_significant_digits(nanoseconds: int, text: str) -> None:
    assert format_ms(nanoseconds) == text


@pytest.mark.parametrize(("nanoseconds", "text"), [(420_000_000, "0.42 s"), (75_140_000_000, "75.1 s")])
def test_seconds_show_one_decimal_and_two_below_ten(nanoseconds: int, text: str) -> None:
    assert format_seconds(nanoseconds) == text


def test_a_change_always_shows_its_sign() -> None:
    assert (format_change(0.163), format_change(-0.007), format_change(0.0)) == ("+16.3 %", "-0.7 %", "+0.0 %")


def test_a_tolerance_shows_no_sign_and_no_empty_decimals() -> None:
    assert (format_percent(0.05), format_percent(0.125)) == ("5 %", "12.5 %")


def test_bytes_show_in_kib_until_they_fill_a_mib() -> None:
    assert (format_bytes(0), format_bytes(104 * 2**10), format_bytes(2**20)) == ("0 KiB", "104 KiB", "1 MiB")


def test_bytes_show_in_mib_until_they_fill_a_gib() -> None:
    assert (format_bytes(421 * 2**20), format_bytes(2**30), format_bytes(13 * 2**30 + 2**28)) == (
        "421 MiB",
        "1.0 GiB",
        "13.2 GiB",
    )


@pytest.mark.parametrize(
    ("amount", "text"),
    [(3.06e12, "3.06 TB/s"), (12.0e9, "12.0 GB/s"), (999.6e9, "1.00 TB/s"), (5.0, "5.00 B/s"), (2e18, "2000 PB/s")],
)
def test_an_amount_has_three_digits_and_a_prefix(amount: float, text: str) -> None:
    assert format_si(amount, "B/s") == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.0004, "0.0 %"), (0.0068, "0.7 %"), (0.0451, "4.5 %"), (0.0996, "10 %"), (0.45, "45 %"), (1.453, "145 %")],
)
def test_a_share_has_a_decimal_where_it_is_small(fraction: float, text: str) -> None:
    assert format_share(fraction) == text
