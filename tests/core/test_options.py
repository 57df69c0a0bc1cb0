import pytest

from perfsuite.core.errors import OptionError
from perfsuite.core.metrics import Metric, Statistic
from perfsuite.core.options import (
    DEFAULT_TOLERANCES,
    GateOptions,
    MeasureOptions,
    merge_tolerances,
    parse_lengths,
    parse_timeouts,
    parse_tolerances,
)

TTFT_P50 = Metric(series="ttft", statistic=Statistic.P50)
TTFT_P99 = Metric(series="ttft", statistic=Statistic.P99)


def test_prompt_lengths_come_out_ascending() -> None:
    assert parse_lengths("100, 10 ,50", where="--perf-prompt-lengths") == (10, 50, 100)


@pytest.mark.parametrize("text", ["", "10,", "10,,50", "0", "-5", "1.5", "ten", "10;50", "²"])
def test_a_list_with_anything_but_whole_numbers_from_one_up_is_refused(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_lengths(text, where="--perf-prompt-lengths")
    expected = f"--perf-prompt-lengths: {text!r} is not a list of lengths; write whole numbers from 1 up, '10,50,100'"
    assert str(caught.value) == expected


def test_a_length_given_twice_is_refused() -> None:
    with pytest.raises(OptionError, match="'10,50,010' names a length twice"):
        parse_lengths("10,50,010", where="--perf-prompt-lengths")


def test_tolerances_are_read_per_metric() -> None:
    assert parse_tolerances("ttft.p50=5%, ttft.p99 = 12.5%", where="--perf-tolerance") == {
        TTFT_P50: 0.05,
        TTFT_P99: 0.125,
    }


def test_off_takes_a_metric_out_of_the_gate() -> None:
    changes = parse_tolerances("ttft.p99=off", where="--perf-tolerance")
    assert merge_tolerances(DEFAULT_TOLERANCES, changes) == {
        metric: tolerance for metric, tolerance in DEFAULT_TOLERANCES.items() if metric != TTFT_P99
    }


def test_a_change_replaces_one_tolerance_and_leaves_the_others() -> None:
    merged = merge_tolerances(DEFAULT_TOLERANCES, {TTFT_P50: 0.2})
    assert merged == {**DEFAULT_TOLERANCES, TTFT_P50: 0.2}


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "'' has no '='; write METRIC=PERCENT"),
        ("ttft.p50", "'ttft.p50' has no '='"),
        ("ttft.p50=5%,ttft.p50=6%", "'ttft.p50' is given twice"),
        ("ttft.p50=5", "(ttft.p50): '5' is not a percentage above zero"),
        ("ttft.p50=", "(ttft.p50): '' is not a percentage above zero"),
        ("ttft.p42=5%", "'ttft.p42' is not a metric"),
        ("latency=5%", "'latency' is not a metric"),
    ],
)
def test_a_tolerance_that_cannot_be_read_is_refused_with_the_finding(text: str, finding: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_tolerances(text, where="--perf-tolerance")
    assert str(caught.value).startswith("--perf-tolerance")
    assert finding in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("samples", 0), ("decode_samples", 0), ("block_size", 0), ("warmup", -1)])
def test_measuring_without_samples_is_refused(name: str, value: int) -> None:
    with pytest.raises(OptionError, match=f"^{name}: {value} is not allowed"):
        MeasureOptions(**{name: value})


def test_measuring_without_warm_up_is_allowed() -> None:
    assert MeasureOptions(warmup=0).warmup == 0


@pytest.mark.parametrize("name", ["sessions", "baseline_sessions"])
def test_a_gate_without_sessions_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match="at least one session is needed"):
        GateOptions(**{name: 0})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10m", (600 * 10**9, {})),
        ("10m,compile=1h", (600 * 10**9, {"compile": 3600 * 10**9})),
        ("warm-up=5s", (600 * 10**9, {"warm-up": 5 * 10**9})),
    ],
)
def test_timeouts_are_for_all_phases_or_by_phase(text: str, found: tuple[int, dict[str, int]]) -> None:
    assert parse_timeouts(text, where="t") == found


@pytest.mark.parametrize(
    ("phase", "silence_ns"),
    [("compile", 2), ("compile and capture", 2), ("compiled", 1), ("load", 1), ("load engines", 3)],
)
def test_the_time_of_a_phase_counts_for_those_that_begin_with_its_words(phase: str, silence_ns: int) -> None:
    options = MeasureOptions(silence_ns=1, phase_silence_ns={"compile": 2, "load engines": 3})
    assert options.silence_of(phase) == silence_ns


@pytest.mark.parametrize("text", ["", "10", "1m,2m", "=5s", "load=1m,load=2m", "load=", "load=soon"])
def test_timeouts_that_cannot_be_used_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"^t: "):
        parse_timeouts(text, where="t")


def test_a_phase_without_a_time_of_its_own_has_that_of_all() -> None:
    options = MeasureOptions(silence_ns=5, phase_silence_ns={"compile": 7})
    assert [options.silence_of(phase) for phase in ("compile", "load")] == [7, 5]


def test_options_are_a_key_whatever_timeouts_they_hold() -> None:
    """Cells that are measured alike share a process."""
    named = MeasureOptions(phase_silence_ns={"load": 5})
    assert {MeasureOptions(): 1, named: 2}[MeasureOptions(phase_silence_ns={"load": 5})] == 2
