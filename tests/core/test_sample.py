from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsuite.core.metrics import SERIES, Statistic
from perfsuite.core.sample import Phase, Sample


def sample(arrivals: tuple[int, ...], tokens: tuple[int, ...], device: tuple[int, ...] | None = None) -> Sample:
    return Sample(phase=Phase.DECODE, block=0, arrivals_ns=arrivals, tokens=tokens, device_ns=device)


def test_ttft_is_the_first_arrival_and_e2e_the_last() -> None:
    taken = sample((40, 42, 45), (1, 1, 1))
    assert (taken.ttft_ns, taken.e2e_ns) == (40, 45)


def test_tpot_is_the_time_after_the_first_token_over_the_tokens_after_it() -> None:
    assert sample((40, 42, 45), (1, 1, 1)).tpot_ns == (45 - 40) / 2


def test_tpot_of_one_token_is_undefined() -> None:
    assert sample((40,), (1,)).tpot_ns is None


def test_tpot_of_one_bundle_of_tokens_is_undefined() -> None:
    assert sample((40,), (5,)).tpot_ns is None


def test_a_first_event_of_several_tokens_does_not_make_decoding_look_faster() -> None:
    assert sample((40, 60), (3, 2)).tpot_ns == 20 / 2


def test_itl_are_the_gaps_between_tokens() -> None:
    assert sample((40, 42, 45), (1, 1, 1)).itl_ns == (2, 3)


def test_itl_is_undefined_when_an_event_holds_several_tokens() -> None:
    bundled = sample((40, 42, 45), (1, 2, 1))
    assert bundled.itl_ns is None
    assert bundled.icl_ns == (2, 3)


def test_one_event_has_no_gaps() -> None:
    assert sample((40,), (1,)).icl_ns == ()


def test_output_tokens_are_those_of_all_events() -> None:
    assert sample((40, 42), (1, 3)).output_tokens == 4


def test_device_times_are_the_prefill_step_and_the_mean_decode_step() -> None:
    taken = sample((40, 42, 45), (1, 1, 1), (30, 1, 2))
    assert (taken.ttft_device_ns, taken.tpot_device_ns) == (30, 1.5)


def test_without_a_device_the_device_times_are_undefined() -> None:
    taken = sample((40, 42), (1, 1))
    assert (taken.ttft_device_ns, taken.tpot_device_ns) == (None, None)


def test_without_a_decode_step_the_device_tpot_is_undefined() -> None:
    assert sample((40,), (1,), (30,)).tpot_device_ns is None


@pytest.mark.parametrize(("arrivals", "tokens"), [((), ()), ((1, 2), (1,)), ((1,), (1, 1))])
def test_a_sample_needs_one_token_count_per_arrival(arrivals: tuple[int, ...], tokens: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one token count per arrival"):
        sample(arrivals, tokens)


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=40))
def test_with_one_token_per_event_tpot_is_the_mean_of_the_gaps(gaps: list[int]) -> None:
    arrivals = tuple(sum(gaps[: index + 1]) for index in range(len(gaps)))
    taken = sample(arrivals, (1,) * len(gaps))
    assert taken.tpot_ns == pytest.approx(sum(gaps[1:]) / len(gaps[1:]))


def together() -> Sample:
    """Two requests sent at once: the second begins late and gets two tokens at a time."""
    return replace(
        sample((50, 60, 70), (1, 1, 1)), rows_ns=((40, 45, 60), (50, 70)), rows_tokens=((1, 1, 1), (1, 2)), sent_ns=7
    )


def test_requests_sent_together_have_times_of_their_own() -> None:
    first, second = together().requests
    assert (first.ttft_ns, first.e2e_ns, first.tpot_ns, first.itl_ns) == (40, 60, 10, (5, 15))
    assert (second.ttft_ns, second.e2e_ns, second.tpot_ns, second.itl_ns) == (50, 70, 10, None)
    assert {(each.phase, each.block, each.sent_ns) for each in (first, second)} == {(Phase.DECODE, 0, 7)}


def test_the_call_itself_has_the_times_of_its_slowest() -> None:
    assert (together().ttft_ns, together().e2e_ns) == (50, 70)


def test_rows_that_share_their_times_are_one_request() -> None:
    taken = sample((40, 42), (1, 1))
    assert taken.requests == (taken,)


@pytest.mark.parametrize(("times", "tokens"), [(((1, 2),), ((1,),)), (((1,),), ()), (((),), ((),))])
def test_every_request_needs_one_token_count_per_arrival(
    times: tuple[tuple[int, ...], ...], tokens: tuple[tuple[int, ...], ...]
) -> None:
    with pytest.raises(ValueError, match="one token count per arrival"):
        replace(together(), rows_ns=times, rows_tokens=tokens)


def test_requests_sent_together_count_once_in_a_verdict() -> None:
    """The median of the requests for the median, the mean for the mean, the slowest for a tail."""
    first = replace(together(), phase=Phase.PREFILL, rows_ns=((40,), (50,), (90,)), rows_tokens=((1,), (1,), (1,)))
    found = {statistic: SERIES["ttft"].of_call(first, statistic) for statistic in Statistic}
    assert found == {Statistic.MEAN: (60,), Statistic.P50: (50,), Statistic.P95: (90,), Statistic.P99: (90,)}
    assert SERIES["ttft"].of_sample(first) == (40, 50, 90)


def test_a_single_request_counts_with_all_of_its_values() -> None:
    taken = sample((40, 42, 45), (1, 1, 1))
    assert SERIES["itl"].of_call(taken, Statistic.P99) == (2, 3)


def test_what_no_request_has_a_value_of_does_not_count() -> None:
    assert SERIES["ttft_device"].of_call(together(), Statistic.P50) == ()
