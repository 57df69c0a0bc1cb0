"""Owns the question whether draws depend on each other: of successive steps, of rows of a batch, of different seeds.

It sees pairs of draws only, and must not know where they come from.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perfsuite.core.boundaries import Mask
from perfsuite.core.draws import certain_cells
from perfsuite.core.likelihood import Cells, log_chance_of_misfit
from perfsuite.core.oracle import NextToken
from perfsuite.core.problem import FALSE_ALARM, SHARES, Problem, Property

CLASSES = 6
"""Parts of equal probability into which each draw's distribution is cut."""
JITTER_SEED = 20
"""Seeds the place of a draw within its token's share of the distribution."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draw:
    """One drawn token and the distribution that it is from."""

    drawn: int
    token: NextToken


Pair = tuple[Draw, Draw]


def check_pairs(kinds: Mapping[str, Sequence[Pair]], *, alarm: float = FALSE_ALARM) -> tuple[Problem, ...]:
    """A problem for every kind ('rows of a batch') whose pairs are not independent; `alarm` is the chance of any."""
    share = alarm * SHARES["independence"] / max(len(kinds), 1)
    found = (dependence(kind, pairs, alarm=share) for kind, pairs in kinds.items())
    return tuple(problem for problem in found if problem is not None)


def dependence(kind: str, pairs: Sequence[Pair], *, alarm: float) -> Problem | None:
    """What shows that the two draws of pairs are not independent, or not from their distributions; else `None`.

    Three things are looked at: how often the two are equal, and the fields that their positions fall into, in order of
    probability and in order of ids. A position is uniform on [0, 1) whatever the distribution: the probability of all
    tokens before it plus a uniform part of its own; so each of CLASSES x CLASSES fields is as likely as any other.
    Draws that need not be possible do not count. Pairs must not overlap, or they would depend on each other.
    """
    if not pairs:
        return None
    chances = (
        _log_chance_of_equals(pairs),
        _log_chance_of_fields(pairs, _by_rank),
        _log_chance_of_fields(pairs, _by_id),
    )
    if min(chances) >= math.log(alarm / len(chances)):
        return None
    return Problem(property=Property.RANDOMNESS, finding=_evidence(kind, pairs, min(chances)))


def _log_chance_of_equals(pairs: Sequence[Pair]) -> float:
    """Chernoff's bound for independent events: P(X >= x) <= exp(x - m - x log(x / m)) where m < x are expected."""
    counted = [pair for pair in pairs if all(_is_certain(draw) for draw in pair)]
    equal = sum(first.drawn == second.drawn for first, second in counted)
    expected = sum(_chance_of_equal(pair) * math.exp(2 * _slack(pair)) for pair in counted)
    if equal <= expected:
        return 0.0
    return equal - expected - equal * math.log(equal / expected)


def _is_certain(draw: Draw) -> bool:
    return 0 <= draw.drawn < len(draw.token.scores) and bool(draw.token.required[draw.drawn])


def _chance_of_equal(pair: Pair) -> float:
    first, second = (np.exp(certain_cells(draw.token).log_p) for draw in pair)
    return float(first @ second)


def _slack(pair: Pair) -> float:
    return float(sum(draw.token.slack.max() for draw in pair))


Order = Callable[[NextToken, int], Mask]


def _by_rank(token: NextToken, drawn: int) -> Mask:
    """The tokens that are likelier than the drawn one, or as likely with a smaller id."""
    tied_before = (token.scores == token.scores[drawn]) & _by_id(token, drawn)
    earlier: Mask = (token.scores > token.scores[drawn]) | tied_before
    return earlier


def _by_id(token: NextToken, drawn: int) -> Mask:
    earlier: Mask = np.arange(len(token.scores)) < drawn
    return earlier


def _log_chance_of_fields(pairs: Sequence[Pair], before: Order) -> float:
    jitter = np.random.default_rng(JITTER_SEED)
    placed = [_field(pair, before, jitter) for pair in pairs]
    fields = [field for field in placed if field is not None]
    if not fields:
        return 0.0
    counts = np.bincount(fields, minlength=CLASSES**2).astype(float)
    slack = max(_slack(pair) for pair in pairs)
    even = Cells(log_p=np.full(CLASSES**2, -2 * math.log(CLASSES)), slack=np.full(CLASSES**2, slack))
    return log_chance_of_misfit(counts, even)


def _field(pair: Pair, before: Order, jitter: np.random.Generator) -> int | None:
    positions = [position(draw, float(jitter.random()), before) for draw in pair]
    if None in positions:
        return None
    row, column = (int(place * CLASSES) for place in positions if place is not None)
    return row * CLASSES + column


def position(draw: Draw, part: float, before: Order = _by_rank) -> float | None:
    """Where a draw lies in its distribution, from 0 to below 1; `part` in [0, 1) is its place within its own share."""
    if not _is_certain(draw):
        return None
    probabilities = np.exp(certain_cells(draw.token).log_p)
    place = probabilities[before(draw.token, draw.drawn)].sum() + part * probabilities[draw.drawn]
    return min(float(place), math.nextafter(1.0, 0.0))


def _evidence(kind: str, pairs: Sequence[Pair], log_chance: float) -> str:
    equal = sum(first.drawn == second.drawn for first, second in pairs)
    expected = sum(float(first.token.probabilities @ second.token.probabilities) for first, second in pairs)
    return (
        f"{kind} are not independent: {equal} of {len(pairs)} pairs are equal where {expected:.1f} are expected; "
        f"chance at most 1e{math.ceil(log_chance / math.log(10))}"
    )
