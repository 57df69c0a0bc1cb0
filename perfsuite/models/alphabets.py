"""Owns what the ids of a model stand for: the bytes of the embedded one, or the tokenizer in a model's own folder.

It imports transformers, and that only where a folder has a tokenizer.
"""

from collections.abc import Sequence
from typing import Any

from perfsuite.core.workload import ModelSpec
from perfsuite.measure.strategy import Alphabet
from perfsuite.models import alphabet
from perfsuite.models.presets import folder_of, packaged_weights, preset

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt")


class Bytes:
    """The alphabet of the embedded model."""

    def encode(self, text: str) -> tuple[int, ...]:
        return (alphabet.BEGIN, *alphabet.encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        return alphabet.decode(ids)


class Tokenizer:
    """A tokenizer of transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))


def alphabet_of(spec: ModelSpec) -> Alphabet | None:
    """What the ids of a model stand for; `None` for drawn weights, which write nothing, and without a local tokenizer.

    Raises what transformers raises on a tokenizer that it cannot use.
    """
    if spec.load_format == "dummy":
        return None
    if preset(spec.name):
        return Bytes() if packaged_weights(spec) else None
    folder = folder_of(spec.name)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return None
    import transformers

    load: Any = transformers.AutoTokenizer
    return Tokenizer(load.from_pretrained(folder, local_files_only=True, trust_remote_code=spec.trust_remote_code))
