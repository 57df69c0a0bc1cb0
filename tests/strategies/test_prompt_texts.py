"""Prompts as text have exactly as many tokens as asked for."""

import re

import pytest

from perfsuite.core.errors import EndpointError, OptionError
from perfsuite.strategies._prompt_texts import HuggingFaceTokenizer, PromptTexts, load_tokenizer
from tests.strategies.byte_tokenizer import byte_tokenizer


class Words:
    """A token is a word; before each text comes one that begins it."""

    vocabulary = 30

    def encode(self, text, *, with_special):
        return [0] * with_special + [1 for _ in re.findall(r"\S+", text)]

    def decode(self, ids):
        return " ".join(f"<{token}>" if token < 3 else chr(94 + token) for token in ids)


class Merging(Words):
    """Two equal words side by side are one token."""

    def encode(self, text, *, with_special):
        return [0] * with_special + re.findall(r"(\S+)(?: \1)?", text)


@pytest.mark.parametrize("length", [2, 5, 50])
@pytest.mark.parametrize("tokenizer", [Words(), HuggingFaceTokenizer(byte_tokenizer())])
def test_a_text_has_as_many_tokens_as_the_prompt(tokenizer, length):
    texts = PromptTexts(tokenizer)
    text = texts.text(range(length))
    assert len(tokenizer.encode(text, with_special=True)) == length
    assert text == texts.text(range(length))
    assert text != texts.text(range(1, length + 1))


def test_what_the_server_adds_is_part_of_the_length():
    texts = PromptTexts(Words(), with_special=False)
    texts.overhead = 4
    assert texts.count(texts.text(range(10))) == 6


def test_a_prompt_that_the_server_alone_fills_is_refused():
    texts = PromptTexts(Words())
    texts.overhead = 4
    with pytest.raises(EndpointError, match="no text was found that is a prompt of 3 tokens: 5 came out"):
        texts.text(range(3))


def test_a_tokenizer_without_words_is_refused():
    with pytest.raises(EndpointError, match="no words that stay one token each"):
        PromptTexts(Merging()).text(range(5))


def test_a_tokenizer_that_was_named_must_be_there(tmp_path):
    with pytest.raises(OptionError, match=r"--perf-tokenizer: '.*' cannot be loaded: "):
        load_tokenizer(str(tmp_path), is_needed=True)
    assert load_tokenizer(str(tmp_path), is_needed=False) is None
