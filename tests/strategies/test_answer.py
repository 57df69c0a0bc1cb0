"""What the pieces of a streamed answer become, and which answers are none."""

import json

import pytest

from perfsuite.core.errors import EndpointError
from perfsuite.core.sample import Chunk
from perfsuite.strategies._answer import Answer, error_text, read_event
from tests.strategies.server import DONE, chunk, counted, event, usage


def read(*pieces):
    answer = Answer()
    return answer, list(answer.read(pieces))


def chat(delta, finish=None):
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def test_token_ids_are_taken_as_they_come():
    answer, chunks = read(chunk("a", ids=[1]), chunk("bc", "length", ids=[2, 3]), counted(3), DONE)
    assert [part.token_ids for part in chunks] == [(1,), (2, 3)]
    assert chunks[-1].finish_reason == "length"
    assert answer.token_counts(None) is None


def test_an_id_without_text_is_a_token():
    _, chunks = read(chunk("", ids=[7]), chunk("é", "length", ids=[8]), DONE)
    assert [part.token_ids for part in chunks] == [(7,), (8,)]


def test_events_of_one_piece_are_one_chunk():
    answer, chunks = read(chunk("a") + chunk("b"), chunk("c"), chunk("", "length") + counted(3), DONE)
    assert [part.text for part in chunks] == ["ab", "c", ""]
    assert answer.token_counts(None) == (2, 1, 0)


def test_the_role_of_a_chat_is_no_token():
    answer, chunks = read(
        chat({"role": "assistant", "content": ""}), chat({"content": "a"}), chat({}, "stop"), counted(1)
    )
    assert [part.text for part in chunks] == ["a", ""]
    assert answer.token_counts(None) == (1, 0)


def test_what_a_chat_thinks_are_tokens_and_said_once():
    _, chunks = read(chat({"reasoning": "hm", "reasoning_content": "hm"}), chat({"content": "a"}, "stop"))
    assert [part.text for part in chunks] == ["hm", "a"]


def test_running_counts_show_tokens_without_text():
    answer, chunks = read(
        chunk("", usage=usage(1)), chunk("é", usage=usage(3)), chunk("", "length", usage=usage(3)), counted(3), DONE
    )
    assert answer.token_counts(None) == (1, 2, 0)
    assert len(chunks) == 3


def test_a_token_without_any_text_came_with_the_end():
    answer, chunks = read(chunk("", "length"), counted(1), DONE)
    assert answer.token_counts(None) == (1,)
    assert len(chunks) == 1


def test_the_servers_counts_are_kept():
    answer, _ = read(chunk("a", "length"), counted(1, prompt=40, cached=16), DONE)
    assert (answer.usage.prompt_tokens, answer.usage.output_tokens, answer.usage.cached_tokens) == (40, 1, 16)


def test_the_body_is_read_behind_its_end_mark():
    pieces = iter([chunk("a", "stop"), DONE, b"", b"\n"])
    assert len(list(Answer().read(pieces))) == 1
    assert list(pieces) == []


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([chunk("a")], "the stream ended after 1 chunks without a finish reason"),
        ([chunk("a"), chunk("b")[:20]], "the stream broke off within an event, after 1 chunks"),
        ([], "the stream ended after 0 chunks without a finish reason"),
        ([b"data: {half\n\n"], "an event is not JSON: '{half'"),
        ([b"data: 3\n\n"], "an event is not an object: '3'"),
        ([event({"error": {"message": "out of\nmemory"}})], "the server broke off: out of memory"),
        ([event({"choices": [{"token_ids": "no"}]})], "token_ids are no list of whole numbers: no"),
    ],
)
def test_a_broken_answer_says_what_broke(pieces, words):
    with pytest.raises(EndpointError) as caught:
        read(*pieces)
    assert str(caught.value) == words


def test_an_answer_without_a_token_is_none():
    answer, _ = read(chunk("", "stop"), counted(0), DONE)
    with pytest.raises(EndpointError, match="the answer has zero tokens"):
        answer.token_counts(None)


@pytest.mark.parametrize(
    "odd", [{}, {"choices": None}, {"choices": [None]}, {"choices": [{"text": None}]}, {"usage": 3}]
)
def test_an_event_that_says_nothing_is_no_chunk(odd):
    found = read_event(json.dumps(odd))
    assert (found.text, found.token_ids, found.finish_reason) == ("", (), None)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"error": {"message": "m", "code": 1}}, "m"),
        ({"error": "e"}, "e"),
        ({"detail": [{"msg": "d"}]}, '{"msg": "d"}'),
        ({"detail": "Not Found"}, "Not Found"),
        ([], "[]"),
    ],
)
def test_the_servers_own_words_are_found(said, words):
    assert error_text(said) == words


def test_a_chunk_is_a_chunk():
    assert read(chunk("a", "stop"))[1] == [Chunk(token_ids=(), text="a", finish_reason="stop")]
