"""What a pass reads and computes, by numbers that can be counted by hand."""

import pytest

from perfsuite.core.work import Attention, ModelWork

FULL = Attention(layers=2, kv_bytes=10, pair_flops=3)
SLIDING = Attention(layers=1, kv_bytes=10, pair_flops=3, window=4)
WORK = ModelWork(weight_bytes=1000, token_flops=100, head_flops=7, attention=(FULL,))


def test_a_prompt_pass_reads_the_weights_alone() -> None:
    assert WORK.pass_bytes(rows=3, past=0) == 1000


def test_a_decode_step_reads_the_cache_of_every_row_as_well() -> None:
    assert WORK.pass_bytes(rows=3, past=5) == 1000 + 3 * 5 * 2 * 10


def test_a_window_bounds_what_is_read_of_the_cache() -> None:
    """The next token is one of its window of four itself."""
    work = ModelWork(weight_bytes=0, token_flops=0, head_flops=0, attention=(SLIDING,))
    assert [work.pass_bytes(rows=1, past=past) for past in (0, 2, 3, 4, 100)] == [0, 20, 30, 30, 30]


def test_the_head_computes_for_the_last_token_of_a_row_only() -> None:
    work = ModelWork(weight_bytes=0, token_flops=100, head_flops=7)
    assert work.pass_flops(rows=3, past=0, new=5) == 3 * (500 + 7)


def test_every_token_of_a_prompt_attends_to_itself_and_what_lies_before() -> None:
    """1 + 2 + 3 + 4 + 5 pairs in each of two layers."""
    assert WORK.pass_flops(rows=1, past=0, new=5) == 500 + 7 + 2 * 3 * 15


def test_a_decode_step_attends_to_all_positions() -> None:
    assert WORK.pass_flops(rows=1, past=5, new=1) == 100 + 7 + 2 * 3 * 6


@pytest.mark.parametrize("past", [0, 2, 3, 4, 9])
@pytest.mark.parametrize("new", [1, 3, 8])
@pytest.mark.parametrize("window", [None, 1, 4])
def test_pairs_are_those_that_counting_one_by_one_gives(past: int, new: int, window: int | None) -> None:
    counted = sum(
        1 for query in range(past, past + new) for key in range(query + 1) if window is None or query - key < window
    )
    kind = Attention(layers=1, kv_bytes=0, pair_flops=1, window=window)
    work = ModelWork(weight_bytes=0, token_flops=0, head_flops=0, attention=(kind,))
    assert work.pass_flops(rows=1, past=past, new=new) == counted
