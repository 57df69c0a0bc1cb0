"""Text becomes ids of bytes and comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsuite.models.alphabet import BEGIN, END, SIZE, decode, encode


def test_an_id_is_a_byte() -> None:
    assert encode("é = 1\n") == (0xC3, 0xA9, 0x20, 0x3D, 0x20, 0x31, 0x0A)


@given(st.text())
def test_text_comes_back_as_it_was(text: str) -> None:
    assert decode(encode(text)) == text


def test_begin_and_end_follow_the_bytes_and_are_no_text() -> None:
    assert (BEGIN, END, SIZE) == (256, 257, 258)
    assert decode((BEGIN, 104, 105, END)) == "hi"


@pytest.mark.parametrize("ids", [(0xC3,), (0xFF,)], ids=["half a character", "no character"])
def test_bytes_that_are_no_text_are_marked(ids: tuple[int, ...]) -> None:
    assert decode((*ids, 33)) == "\N{REPLACEMENT CHARACTER}!"
