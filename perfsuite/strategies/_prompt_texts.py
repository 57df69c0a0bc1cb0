"""Owns prompts as text, for servers that take no ids: texts that the model's tokenizer makes so many tokens of."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from perfsuite.core.errors import EndpointError, OptionError

WORDS = 1000
"""So many words are looked for among the vocabulary; prompts are made of them."""
TRIES = 12


class Tokenizer(Protocol):
    """What is needed of a tokenizer."""

    vocabulary: int

    def encode(self, text: str, *, with_special: bool) -> Sequence[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


class HuggingFaceTokenizer:
    """The tokenizer of a Hugging Face id or folder."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.vocabulary = len(tokenizer)

    def encode(self, text: str, *, with_special: bool) -> Sequence[int]:
        ids: Sequence[int] = self._tokenizer.encode(text, add_special_tokens=with_special)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))


def load_tokenizer(name: str, *, is_needed: bool) -> HuggingFaceTokenizer | None:
    """The tokenizer of that name; if there is none, `None`, or an OptionError where the user named it.

    A name that is neither a folder nor owner/model is what a server calls its model; nobody is asked for it.
    """
    if not is_needed and "/" not in name and not Path(name).is_dir():
        return None
    from transformers import AutoTokenizer

    try:
        return HuggingFaceTokenizer(AutoTokenizer.from_pretrained(name))
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        if not is_needed:
            return None
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise OptionError(f"--perf-tokenizer: {name!r} cannot be loaded: {first}") from error


class PromptTexts:
    """Makes a text of as many tokens as a prompt has ids; the same ids give the same text.

    `overhead` are tokens that the server adds by itself, as a chat's template does.
    """

    def __init__(self, tokenizer: Tokenizer, *, with_special: bool = True) -> None:
        self._tokenizer = tokenizer
        self._with_special = with_special
        self.overhead = 0

    @property
    def vocabulary(self) -> int:
        return self._tokenizer.vocabulary

    def spelled(self, ids: Sequence[int]) -> tuple[int, ...]:
        """The ids that the text of a prompt really has."""
        return tuple(self._tokenizer.encode(self.text(ids), with_special=self._with_special))

    def text_of(self, token: int) -> str:
        """The text of one id by itself."""
        return self._tokenizer.decode((token,))

    def count(self, text: str) -> int:
        """How many tokens of an answer a text is."""
        return len(self._tokenizer.encode(text, with_special=False))

    def text(self, ids: Sequence[int]) -> str:
        """A text that is `len(ids)` tokens long with all that the server adds; EndpointError if none was found.

        If these very ids can be written, it is their text; else one of words that stay one token each.
        """
        exact = self._tokenizer.decode(ids)
        if not self.overhead and tuple(self._tokenizer.encode(exact, with_special=self._with_special)) == tuple(ids):
            return exact
        wanted = len(ids) - self.overhead
        words, between = self._words
        chosen = [words[token % len(words)] for token in ids]
        length = max(wanted, 0)
        for _ in range(TRIES):
            text = between.join((chosen * 2)[:length])
            found = len(self._tokenizer.encode(text, with_special=self._with_special))
            if found == wanted:
                return text
            length = max(length + wanted - found, 0)
        raise EndpointError(
            f"no text was found that is a prompt of {len(ids)} tokens: {found + self.overhead} came out"
        )

    @cached_property
    def _words(self) -> tuple[list[str], str]:
        """Words that are one token each wherever they stand, and what goes between them."""
        for between in (" ", ""):
            found = list(self._stable(between))
            if len(found) > 1:
                return found, between
        raise EndpointError(
            "the tokenizer has no words that stay one token each side by side; use one with --perf-tokenizer"
        )

    def _stable(self, between: str) -> Iterator[str]:
        found: set[str] = set()
        for token in range(self._tokenizer.vocabulary):
            word = self._tokenizer.decode((token,)).strip()
            if word not in found and self._stays_one(word, between):
                found.add(word)
                yield word
            if len(found) == WORDS:
                return

    def _stays_one(self, word: str, between: str) -> bool:
        pair = f"{word}{between}{word}"
        return word.isascii() and word.isalpha() and len(self._tokenizer.encode(pair, with_special=False)) == 2
