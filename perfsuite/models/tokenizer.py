"""Owns the comparison of a model with the tokenizer that comes with it; prompts are ids, so nothing else needs one.

A tokenizer of another model is an old trap: ids beyond the model's tables, or texts that never end.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers

from perfsuite.core.errors import ModelLoadError
from perfsuite.core.workload import ModelSpec
from perfsuite.models.configuration import CONFIG_ERRORS, location
from perfsuite.models.presets import preset

PADDING = 1024
"""How many more ids a model may have than its tokenizer: tables are padded to sizes that suit the hardware."""

_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt")
_AutoTokenizer: Any = transformers.AutoTokenizer  # typed too loosely to be of use


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFacts:
    """What must fit the model: `ids` is the largest id plus one, `eos` the id that ends a text (`None`: none does)."""

    ids: int
    eos: int | None


def tokenizer_notes(spec: ModelSpec, vocabulary: int, eos_token_ids: tuple[int, ...]) -> tuple[str, ...]:
    """What differs between a model and the tokenizer in its folder, or of its id if that was downloaded before.

    No notes where there is no tokenizer. ModelLoadError if it has ids that the model does not: a GPU would be lost to
    the first prompt that holds one.
    """
    try:
        found = _read(spec)
    except (*CONFIG_ERRORS, AttributeError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return (f"tokenizer: not compared with the model, as it cannot be loaded ({first})",)
    return () if found is None else _differences(spec, found, vocabulary, eos_token_ids)


def _read(spec: ModelSpec) -> TokenizerFacts | None:
    if preset(spec.name):
        return None
    folder = Path(location(spec))
    if folder.is_dir() and not any((folder / name).is_file() for name in _FILES):
        return None
    try:
        tokenizer = _AutoTokenizer.from_pretrained(
            location(spec),
            revision=spec.revision or "main",
            local_files_only=True,
            trust_remote_code=spec.trust_remote_code,
        )
    except OSError:
        if folder.is_dir():
            raise
        return None  # only the model was downloaded
    return TokenizerFacts(ids=max(tokenizer.get_vocab().values(), default=-1) + 1, eos=tokenizer.eos_token_id)


def _differences(
    spec: ModelSpec, found: TokenizerFacts, vocabulary: int, eos_token_ids: tuple[int, ...]
) -> tuple[str, ...]:
    if found.ids > vocabulary:
        raise ModelLoadError(
            f"model {spec.name!r}: its tokenizer has ids up to {found.ids - 1}, the model's end at {vocabulary - 1}; "
            "the tokenizer is that of another model: put the right one there, or remove it (perfsuite needs none)"
        )
    notes = []
    if found.ids < vocabulary - PADDING:
        notes.append(f"tokenizer: has {found.ids} ids, the model {vocabulary}; it may be that of another model")
    if found.eos is not None and eos_token_ids and found.eos not in eos_token_ids:
        ends = ", ".join(map(str, eos_token_ids))
        notes.append(
            f"tokenizer: ends a text with id {found.eos}, the model with {ends}; it may be that of another model"
        )
    return tuple(notes)
