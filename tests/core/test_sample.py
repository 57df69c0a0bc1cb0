import pytest
from hypothesis import given
from hypothesis import strategies as st

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
