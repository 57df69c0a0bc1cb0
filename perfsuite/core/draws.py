"""Owns draws at a fixed context, counted, and the two distributions that a misreading is told by there."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from perfsuite.core.boundaries import Floats, Mask
from perfsuite.core.likelihood import Cells, best_log_likelihood
from perfsuite.core.misreadings import Misreading, misreadings
from perfsuite.core.oracle import Context, NextToken, log_normalised, next_token
from perfsuite.core.problem import Property

NEGLIGIBLE = 5e-3
"""Nats per draw below which two distributions count as one: a thousand draws could not tell them apart."""
IMPOSSIBLE = -50.0
"""What stands for the logarithm of 0 where misreadings are ranked by how much they explain."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rival:
    """A misreading beside the truth, over the tokens on whose place neither leaves any doubt (`space`).

    Both are conditional on that space, so that a draw outside of it counts for nothing. `nats` is what one draw tells
    on average for the truth and against the misreading, which log(1000) / nats draws exclude in most cases.
    """

    name: str
    property: Property
    is_subtle: bool
    nats: float
    space: Mask
    truth: Cells
    rival: Cells


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """How often each token was drawn at one context: `counts` [V]; without slots, as what it says is kept."""

    context: Context
    token: NextToken
    rivals: tuple[Rival, ...]
    counts: Floats

    @property
    def draws(self) -> int:
        return int(self.counts.sum())

    @cached_property
    def odds(self) -> "Mapping[str, LogOdds]":
        """What these draws say about each misreading, by its name."""
        return {rival.name: log_odds(self, rival) for rival in self.rivals}

    def added(self, ids: Iterable[int]) -> "Tally":
        """The same with more draws; ids outside the vocabulary are no draws."""
        vocabulary = len(self.counts)
        inside = [token for token in ids if 0 <= token < vocabulary]
        more = np.bincount(inside, minlength=vocabulary) if inside else 0
        return Tally(context=self.context, token=self.token, rivals=self.rivals, counts=self.counts + more)


def tally(context: Context, ids: Iterable[int] = (), more: Iterable[Misreading] = ()) -> Tally:
    """The draws `ids` at a context, beside every misreading, and `more`, that can be told from the truth there."""
    token = next_token(context)
    found = (_rival(token, misreading, context.unseen) for misreading in (*misreadings(context), *more))
    rivals = tuple(rival for rival in found if rival is not None)
    return Tally(context=context, token=token, rivals=rivals, counts=np.zeros(len(context.logits))).added(ids)


def certain_cells(token: NextToken) -> Cells:
    """The distribution over what is required, on which it is known up to rounding."""
    return _cells(token, token.required)


def _cells(token: NextToken, kept: Mask) -> Cells:
    return Cells(log_p=log_normalised(token.scores, kept), slack=np.where(kept, token.slack, 0.0))


def _rival(token: NextToken, misreading: Misreading, unseen: Mask | None) -> Rival | None:
    """`None` where the two cannot be told apart within rounding, or leave no token to tell them by."""
    space = ~(token.optional | misreading.token.optional)
    if unseen is not None:
        space &= ~unseen
    kept, rival_kept = token.required & space, misreading.token.required & space
    if not kept.any() or not rival_kept.any():
        return None
    truth, rival = _cells(token, kept), _cells(misreading.token, rival_kept)
    nats = max(_certainty(truth, rival), _divergence(truth, rival))
    if nats < NEGLIGIBLE:
        return None
    return Rival(
        name=misreading.name,
        property=misreading.property,
        is_subtle=misreading.is_subtle,
        nats=nats,
        space=space,
        truth=truth,
        rival=rival,
    )


def _certainty(truth: Cells, rival: Cells) -> float:
    """What tokens tell that the misreading never gives: -log of the chance that a draw is none of them."""
    beyond = np.exp(truth.log_p[np.isneginf(rival.log_p)]).sum() * math.exp(-_blur(truth, rival))
    return math.inf if beyond >= 1 else -math.log1p(-float(beyond))


def _divergence(truth: Cells, rival: Cells) -> float:
    """What the others tell: the KL divergence from the misreading of what is drawn of the tokens that both give."""
    both = (truth.log_p > -np.inf) & (rival.log_p > -np.inf)
    if not both.any():
        return 0.0
    log_p, log_q = log_normalised(truth.log_p, both)[both], rival.log_p[both]
    share = float(np.exp(truth.log_p[both]).sum())
    return share * float((np.exp(log_p) * (log_p - log_q)).sum()) - _blur(truth, rival)


def _blur(truth: Cells, rival: Cells) -> float:
    return 2 * float(max(truth.slack.max(), rival.slack.max()))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOdds:
    """Logarithms of likelihood ratios: what speaks for a misreading against the truth, and the other way round.

    Each is a martingale's logarithm, or below one, if what it speaks against holds: the chance that it ever exceeds
    log(1 / a) is at most a, however often one looks (Ville's inequality). They are not each other's negatives, because
    each is taken at the best that rounding could make of what it speaks against. `explained` is a finite number to rank
    misreadings by: the plain ratio, with e^IMPOSSIBLE for each draw that cannot be.
    """

    for_rival: float = 0.0
    for_truth: float = 0.0
    explained: float = 0.0

    def __add__(self, other: "LogOdds") -> "LogOdds":
        """Both together; what excludes the misreading at one context excludes it, whatever the other says."""
        explained = self.explained + other.explained
        if -math.inf in (self.for_rival, other.for_rival):
            return LogOdds(for_rival=-math.inf, for_truth=math.inf, explained=explained)
        return LogOdds(
            for_rival=self.for_rival + other.for_rival,
            for_truth=self.for_truth + other.for_truth,
            explained=explained,
        )


def log_odds(drawn: Tally, rival: Rival) -> LogOdds:
    """What the draws at one context say about one misreading; what it could not have drawn excludes it."""
    counts = np.where(rival.space, drawn.counts, 0.0)
    rival_best, truth_best = best_log_likelihood(counts, rival.rival), best_log_likelihood(counts, rival.truth)
    explained = _log_likelihood(counts, rival.rival) - _log_likelihood(counts, rival.truth)
    if rival_best == -math.inf:
        return LogOdds(for_rival=-math.inf, for_truth=math.inf, explained=explained)
    if truth_best == -math.inf:
        return LogOdds(for_rival=math.inf, for_truth=-math.inf, explained=explained)
    return LogOdds(
        for_rival=_log_likelihood(counts, rival.rival) - truth_best,
        for_truth=_log_likelihood(counts, rival.truth) - rival_best,
        explained=explained,
    )


def _log_likelihood(counts: Floats, cells: Cells) -> float:
    held = counts > 0
    return float((counts[held] * np.maximum(cells.log_p[held], IMPOSSIBLE)).sum())
