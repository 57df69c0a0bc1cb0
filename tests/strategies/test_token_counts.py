"""How many tokens each chunk of text is taken to hold."""

import pytest

from perfsuite.core.errors import EndpointError
from perfsuite.strategies._token_counts import divided, even, from_running_totals


def words(text):
    return len(text.split())


@pytest.mark.parametrize(
    ("texts", "total", "counter", "expected"),
    [
        (["a", "b", "c"], 3, None, (1, 1, 1)),
        (["a", "b", ""], 2, None, (1, 1, 0)),
        (["a b ", "c ", "d e f"], 6, words, (2, 1, 3)),
        (["a b ", "c ", "d e f"], None, words, (2, 1, 3)),
        (["a b ", "c "], 4, words, (2, 2)),
        (["a", "b"], 5, None, (2, 3)),
        (["a", "b", ""], 5, None, (2, 3, 0)),
        (["", ""], 3, None, (0, 3)),
        ([], 0, None, ()),
    ],
)
def test_tokens_are_divided_by_count_then_tokenizer_then_evenly(texts, total, counter, expected):
    assert divided(texts, total, counter) == expected


def test_without_usage_and_tokenizer_the_error_says_so():
    with pytest.raises(EndpointError, match=r"sends no usage .* no tokenizer .* --perf-tokenizer"):
        divided(["a"], None, None)


def test_more_chunks_of_text_than_tokens_do_not_fit():
    with pytest.raises(EndpointError, match="the server counts 1 output tokens, but sent text in 2 chunks"):
        divided(["a", "b"], 1, None)


def test_running_totals_become_counts():
    assert from_running_totals([1, 1, 4]) == (1, 0, 3)
    with pytest.raises(EndpointError, match="count of output tokens fell: 2, 1"):
        from_running_totals([2, 1])


@pytest.mark.parametrize(("total", "parts", "expected"), [(5, 2, (2, 3)), (3, 3, (1, 1, 1)), (7, 4, (1, 2, 2, 2))])
def test_an_even_division_differs_by_one_at_most(total, parts, expected):
    assert even(total, parts) == expected
