"""Owns what a strategy's draws are held against: its own logits, or those of a reference on the same weights.

Where a server is told texts and answers in text, it also owns which ids those stand for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from perfsuite.core.boundaries import Floats, Mask
from perfsuite.measure.strategy import Ability, ExposesLogits, Prompts, Strategy


class Reference(Protocol):
    """Another pass over the weights of a strategy that shows no logits; `dtype` is what the strategy computes in."""

    dtype: str
    layers: int | None

    def next_token_logits(self, prompts: Prompts) -> Any: ...


class Speech(Protocol):
    """What a server's texts stand for.

    `spelled` are the ids that it reads where it is asked with these prompts; asked with those, it reads the same.
    `heard` is the id that an answer of one token was, -1 for one of `unheard`, the ids whose texts do not tell them.
    """

    @property
    def unheard(self) -> frozenset[int]: ...
    def spelled(self, prompts: Prompts) -> Prompts: ...
    def heard(self, text: str) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Borrowed:
    """A reference, and where ids are not told what texts stand for."""

    reference: Reference
    speech: Speech | None = None


@runtime_checkable
class HasReference(Protocol):
    """A strategy that shows no logits itself: others on the same weights, or why there are none, in words."""

    def reference(self) -> Borrowed | str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """Whose logits a strategy is held against; with `is_own` a draw can come from the very pass that shows them."""

    next_token_logits: Callable[[Prompts], Any]
    dtype: str
    layers: int | None
    is_own: bool = True
    speech: Speech | None = None

    def read(self, prompts: Prompts) -> Floats:
        """Logits [B, V] of the token after each prompt, all of one length, in float64."""
        rows: Floats = np.asarray(self.next_token_logits(prompts)).astype(np.float64)
        return rows

    def unseen(self, vocabulary: int) -> Mask | None:
        """Which ids an answer does not tell, [V]; `None` where it tells all."""
        if self.speech is None:
            return None
        mask = np.zeros(vocabulary, dtype=bool)
        mask[[token for token in self.speech.unheard if token < vocabulary]] = True
        return mask


def standard_of(strategy: Strategy) -> Standard | str:
    """What the draws of an open strategy are held against; why there is nothing, in words."""
    facts = strategy.facts()
    if isinstance(strategy, ExposesLogits) and Ability.LOGITS in strategy.abilities:
        return Standard(next_token_logits=strategy.next_token_logits, dtype=facts.dtype, layers=facts.layers)
    if not isinstance(strategy, HasReference):
        return f"strategy {strategy.name!r} shows no logits"
    found = strategy.reference()
    if isinstance(found, str):
        return f"strategy {strategy.name!r} shows no logits, and {found}"
    reference = found.reference
    return Standard(
        next_token_logits=reference.next_token_logits,
        dtype=reference.dtype,
        layers=reference.layers,
        is_own=False,
        speech=found.speech,
    )
