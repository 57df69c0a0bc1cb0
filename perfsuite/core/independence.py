"""Owns the question whether draws depend on each other: of successive steps, of rows of a batch, of different seeds.

It sees pairs of draws only, and must not know where they come from.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

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

    A draw's position is uniform on [0, 1) whatever its distribution: the probability of all likelier tokens plus a
    uniform part of its own. The two positions of a pair fall into each of CLASSES x CLASSES fields alike, so that the
    table of fields has a bound on its misfit. Draws that need not be possible have no position and do not count. The
    pairs must not overlap, or the fields would depend on each other.
    """
    jitter = np.random.default_rng(JITTER_SEED)
    placed = [_field(pair, jitter) for pair in pairs]
    fields = [field for field in placed if field is not None]
    if not fields:
        return None
    counts = np.bincount(fields, minlength=CLASSES**2).astype(float)
    slack = max(float(first.token.slack.max() + second.token.slack.max()) for first, second in pairs)
    even = Cells(log_p=np.full(CLASSES**2, -2 * math.log(CLASSES)), slack=np.full(CLASSES**2, slack))
    log_chance = log_chance_of_misfit(counts, even)
    if log_chance >= math.log(alarm):
        return None
    return Problem(property=Property.RANDOMNESS, finding=_evidence(kind, pairs, log_chance))


def _field(pair: Pair, jitter: np.random.Generator) -> int | None:
    positions = [position(draw, float(jitter.random())) for draw in pair]
    if None in positions:
        return None
    row, column = (int(place * CLASSES) for place in positions if place is not None)
    return row * CLASSES + column


def position(draw: Draw, part: float) -> float | None:
    """Where a draw lies in its distribution, from the likeliest token (0) to the unlikeliest (below 1)."""
    if not 0 <= draw.drawn < len(draw.token.scores) or not draw.token.required[draw.drawn]:
        return None
    probabilities = np.exp(certain_cells(draw.token).log_p)
    own, score = probabilities[draw.drawn], draw.token.scores[draw.drawn]
    before = probabilities[draw.token.scores > score].sum()
    tied_before = (draw.token.scores[: draw.drawn] == score) & draw.token.required[: draw.drawn]
    place = before + own * (int(tied_before.sum()) + part)
    return min(float(place), math.nextafter(1.0, 0.0))


def _evidence(kind: str, pairs: Sequence[Pair], log_chance: float) -> str:
    equal = sum(first.drawn == second.drawn for first, second in pairs)
    expected = sum(float(first.token.probabilities @ second.token.probabilities) for first, second in pairs)
    return (
        f"{kind} are not independent: {equal} of {len(pairs)} pairs are equal where {expected:.1f} are expected; "
        f"chance at most 1e{math.ceil(log_chance / math.log(10))}"
    )
