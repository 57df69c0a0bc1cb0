"""Owns which ids the texts of a server stand for by the model's tokenizer: prompts as it reads them, and first tokens.

Several ids may have one text (bytes that are no character by themselves, ids that mean something and print nothing):
those are not heard, and nothing may rest on how often they came.
"""

from collections import Counter
from functools import cached_property

from perfsuite.measure.strategy import Prompts
from perfsuite.strategies._prompt_texts import PromptTexts


class TokenizersSpeech:
    """`is_told_texts` says that prompts are sent as texts; they are ids where it is not."""

    def __init__(self, texts: PromptTexts, *, is_told_texts: bool) -> None:
        self._texts = texts
        self._is_told_texts = is_told_texts

    def spelled(self, prompts: Prompts) -> Prompts:
        """The ids of the texts that are sent for these prompts."""
        if not self._is_told_texts:
            return prompts
        return tuple(self._texts.spelled(ids) for ids in prompts)

    def heard(self, text: str) -> int:
        return self._ids.get(text, -1)

    @cached_property
    def _written(self) -> tuple[str, ...]:
        """The text of each id by itself."""
        return tuple(self._texts.text_of(token) for token in range(self._texts.vocabulary))

    @cached_property
    def _ids(self) -> dict[str, int]:
        times = Counter(self._written)
        return {text: token for token, text in enumerate(self._written) if text.strip() and times[text] == 1}

    @cached_property
    def unheard(self) -> frozenset[int]:
        return frozenset(range(self._texts.vocabulary)) - frozenset(self._ids.values())
