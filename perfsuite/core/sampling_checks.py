"""Owns the checks of draws against the oracle: support, distribution, and the misreadings that would explain them.

Pure functions of counted draws. What is found wrong is a `Problem`; what the draws could not decide is said as such.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from perfsuite.core.draws import LogOdds, Rival, Tally, certain_cells
from perfsuite.core.likelihood import log_chance_of_misfit, pooled
from perfsuite.core.problem import FALSE_ALARM, SHARES, Problem, Property
from perfsuite.core.workload import SamplingParams

CELLS = 24
"""Outcomes that the distribution check tells apart at one context."""
REPEATED = 8
"""Draws at one context below which they say nothing of its distribution by themselves."""
MISSED = 1e-3
"""Chance that a misreading which is at work is taken for excluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the draws so far say; `open` names the misreadings that they neither show nor exclude.

    `told` are all that the contexts can tell from the truth: what is not among them was not checked.
    """

    problems: tuple[Problem, ...]
    open: tuple[str, ...]
    told: tuple[str, ...]

    @property
    def is_decided(self) -> bool:
        return bool(self.problems) or not self.open


def check_draws(tallies: Sequence[Tally], *, looks: int, alarm: float = FALSE_ALARM) -> Finding:
    """All three checks. Looking up to `looks` times at growing tallies raises a false alarm with chance `alarm`."""
    effects = effect(tallies, alarm=alarm * SHARES["effect"])
    wrong = distribution(tallies, alarm=alarm * SHARES["distribution"] / looks)
    return Finding(problems=(*support(tallies), *wrong, *effects.problems), open=effects.open, told=effects.told)


def support(tallies: Iterable[Tally]) -> tuple[Problem, ...]:
    """A token drawn that no correct sampler can draw. No false alarm as long as the bounds of rounding hold."""
    for tally in tallies:
        outside = np.flatnonzero((tally.counts > 0) & ~tally.token.allowed)
        if outside.size:
            return (Problem(property=Property.SUPPORT, finding=_outside(tally, int(outside[0]))),)
    return ()


def _outside(tally: Tally, token: int) -> str:
    scores, allowed = tally.token.scores, tally.token.allowed
    rank = int((scores > scores[token]).sum()) + 1
    return (
        f"token {token} was drawn {int(tally.counts[token])} times in {tally.draws}; it ranks {rank} with score "
        f"{scores[token]:.6g}; of {describe(tally.context.params)} the best {allowed.sum()} remain, down "
        f"to {scores[allowed].min():.6g}"
    )


def distribution(tallies: Sequence[Tally], *, alarm: float) -> tuple[Problem, ...]:
    """Draws that fit the oracle so badly that chance does it in less than `alarm` of all calls; the worst context."""
    repeated = [tally for tally in tallies if tally.draws >= REPEATED]
    chances = [_log_chance(tally) for tally in repeated]
    if not chances or min(chances) >= math.log(alarm / len(repeated)):
        return ()
    worst = int(np.argmin(chances))
    return (Problem(property=Property.DISTRIBUTION, finding=_misfit(repeated[worst], chances[worst])),)


def _log_chance(tally: Tally) -> float:
    counts = np.where(tally.token.required, tally.counts, 0.0)
    if not counts.any():
        return 0.0
    return log_chance_of_misfit(*pooled(counts, certain_cells(tally.token), CELLS))


def _misfit(tally: Tally, log_chance: float) -> str:
    required = tally.token.required
    counts = np.where(required, tally.counts, 0.0)
    expected = np.exp(certain_cells(tally.token).log_p) * counts.sum()
    worst = int(np.argmax(np.abs(counts - expected) / np.sqrt(expected + 1)))
    return (
        f"of {int(counts.sum())} draws {int(counts[worst])} were token {worst}, expected {expected[worst]:.1f}, under "
        f"{describe(tally.context.params)}; all counts fit the oracle with a chance of at most {_power(log_chance)}"
    )


def effect(tallies: Sequence[Tally], *, alarm: float) -> Finding:
    """Every misreading that can be told from the truth: at work (a problem), excluded, or still open.

    Draws of all contexts count together. The chance to name any misreading of a correct sampler is at most `alarm`
    however often one looks; that of excluding one that is at work is at most `MISSED`.
    """
    odds, rivals = _odds_by_name(tallies)
    limit = math.log(max(len(odds), 1) / alarm)
    shown = sorted((name for name in odds if odds[name].for_rival >= limit), key=lambda name: -odds[name].explained)
    draws = sum(tally.draws for tally in tallies)
    problems = tuple(
        Problem(
            property=rivals[name].property,
            finding=f"{name}: that explains {draws} draws {_times(odds[name].explained)} better than the parameters do",
        )
        for name in shown[:1]
    )
    plain = [name for name in odds if not rivals[name].is_subtle]
    open_ = tuple(name for name in plain if name not in shown and odds[name].for_truth < math.log(1 / MISSED))
    return Finding(problems=problems, open=open_, told=tuple(plain))


def _odds_by_name(tallies: Iterable[Tally]) -> tuple[dict[str, LogOdds], dict[str, Rival]]:
    odds: dict[str, LogOdds] = {}
    rivals: dict[str, Rival] = {}
    for tally in tallies:
        for rival in tally.rivals:
            odds[rival.name] = odds.get(rival.name, LogOdds()) + tally.odds[rival.name]
            rivals[rival.name] = rival
    return odds, rivals


def hopeless_misreadings(tallies: Iterable[Tally], draws: int) -> frozenset[str]:
    """Those that so many draws in all, at these contexts, are not expected to exclude."""
    nats: dict[str, float] = {}
    for rival in (rival for tally in tallies for rival in tally.rivals):
        nats[rival.name] = max(nats.get(rival.name, 0.0), rival.nats)
    return frozenset(name for name, most in nats.items() if most * draws < math.log(1 / MISSED))


def describe(params: SamplingParams) -> str:
    """'temperature 0.7, top-k 50, top-p 0.9, penalty 1.1', without what is off."""
    parts = {
        "temperature": (params.temperature, 1),
        "top-k": (params.top_k, 0),
        "top-p": (params.top_p, 1),
        "penalty": (params.repetition_penalty, 1),
    }
    told = [f"{name} {value:g}" for name, (value, off) in parts.items() if value != off]
    return ", ".join(told) or "plain sampling"


def _power(logarithm: float) -> str:
    return "0" if logarithm == -math.inf else f"1e{math.ceil(logarithm / math.log(10))}"


def _times(logarithm: float) -> str:
    return f"1e{math.floor(logarithm / math.log(10))} times"
