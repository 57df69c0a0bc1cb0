"""Events come out whole, wherever the network cut them."""

import pytest

from perfsuite.core.errors import EndpointError
from perfsuite.strategies._sse import EventDecoder

STREAM = 'data: {"text": "é€😀"}\n\n: a comment\n\ndata:second\r\n\r\nevent: name\ndata: two\ndata: lines\n\n'.encode()
EVENTS = ['{"text": "é€😀"}', "second", "two\nlines"]


@pytest.mark.parametrize("size", range(1, len(STREAM) + 1))
def test_events_do_not_depend_on_where_the_stream_is_cut(size):
    decoder = EventDecoder()
    pieces = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert [event for piece in pieces for event in decoder.feed(piece)] == EVENTS
    assert not decoder.is_within_an_event


@pytest.mark.parametrize("rest", [b"data: half", b"data: a line\n"])
def test_an_event_that_is_not_complete_is_told(rest):
    decoder = EventDecoder()
    assert decoder.feed(b"data: whole\n\n" + rest) == ["whole"]
    assert decoder.is_within_an_event


def test_what_is_no_utf_8_is_an_error_that_shows_it():
    with pytest.raises(EndpointError, match=r"the stream is not UTF-8: b'data: \\xff'"):
        EventDecoder().feed(b"data: \xff\n")
