"""Owns what is known of a model behind a server: what the server lists of it, and what of its files lies here."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from perfsuite.core.workload import ModelSpec
from perfsuite.measure.standard import Borrowed
from perfsuite.models.presets import ends_of, vocabulary_of
from perfsuite.strategies._prompt_texts import PromptTexts, load_tokenizer
from perfsuite.strategies._speech import TokenizersSpeech

UNKNOWN_DTYPE = "dtype not known"


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """The model as it was asked for, and as the server lists it (nothing if it lists none).

    Without slots, as it keeps what it has looked up.
    """

    spec: ModelSpec
    listed: Mapping[str, object]
    is_chat: bool

    @property
    def positions(self) -> int | None:
        """The longest sequence, if the server tells it."""
        found = self.listed.get("max_model_len")
        return found if isinstance(found, int) else None

    @property
    def _places(self) -> list[str]:
        names = (self.spec.engine.tokenizer, self.spec.name, self.listed.get("root"))
        return [name for name in names if isinstance(name, str)]

    @property
    def vocabulary(self) -> int | None:
        """How many ids a config.json that lies here names; `None` where there is none."""
        return next((size for size in map(vocabulary_of, self._places) if size), None)

    @cached_property
    def texts(self) -> PromptTexts | None:
        """Prompts as text; `None` where no tokenizer of the model is here. OptionError if the one named is none."""
        named = self.spec.engine.tokenizer
        places = self._places if named is None else [named]
        loaded = (load_tokenizer(name, is_needed=named is not None) for name in places)
        tokenizer = next((each for each in loaded if each is not None), None)
        return PromptTexts(tokenizer, with_special=not self.is_chat) if tokenizer else None

    @property
    def fingerprint(self) -> str:
        """A digest of what the server says of the model; not when it was loaded."""
        said = {key: self.listed.get(key) for key in ("id", "root", "parent", "max_model_len")}
        return hashlib.sha256(json.dumps([self.spec.name, said], sort_keys=True).encode()).hexdigest()[:16]

    def notes(self) -> tuple[str, ...]:
        """In what the tokenizer does not fit the model, where both lie here; ModelLoadError if it is another's."""
        named = self.spec.engine.tokenizer or self.spec.name
        config = next((name for name in (self.spec.name, named) if vocabulary_of(name)), None)
        size = vocabulary_of(config) if config else None
        if config is None or size is None:
            return ()
        from perfsuite.models.tokenizer import tokenizer_notes

        return tokenizer_notes(replace(self.spec, name=named, revision=None), size, ends_of(config))

    def reference(self, *, is_told_texts: bool, tells_ids: bool) -> Borrowed | str:
        """What the draws of a server are held against: the weights in the folder that the model's name is."""
        from perfsuite.models.reference import saved_weights

        if self.is_chat:
            return "a chat's template stands around its prompts"
        needs_texts = is_told_texts or not tells_ids
        if needs_texts and self.texts is None:
            return "no tokenizer is here to tell which ids its texts stand for; name one with --perf-tokenizer"
        dtype = UNKNOWN_DTYPE if self.spec.dtype == "auto" else self.spec.dtype
        found = saved_weights(self.spec, dtype)
        if isinstance(found, str):
            return found
        if not needs_texts or self.texts is None:
            return Borrowed(reference=found)
        return Borrowed(reference=found, speech=TokenizersSpeech(self.texts, is_told_texts=is_told_texts))
