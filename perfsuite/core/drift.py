"""Owns the watch on slow drift: since which day the level of a cell has been another one (docs/gate.md 8).

It warns and changes no verdict. What drifts inside one session is observations.py's business.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, median

import numpy as np

from perfsuite.core.division import Division, divide
from perfsuite.core.history import History
from perfsuite.core.matrix import Cell

LEAST_DAYS, LONGEST_DAYS = 12, 40
"""Days of sessions that a history needs to be watched, and how many of its latest ones are looked at."""
ACCEPTED_ERROR = 0.005
"""Accepted chance of a warning in a run in which nothing drifted; else the share of warnings that are false."""
LEAST_STEP = 0.25
"""Share of the tolerance by which a level must have moved to be worth a warning."""
LEAST_DRAWS, MOST_DRAWS = 10_000, 500_000
"""Random orders that a chance is counted in: so many that the smallest one that matters is counted to five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Since day `day` of `days`, with session `session` of `sessions`, the level lies by `change` off what it was.

    All are counted from 1, `change` is a fraction. `since` is when that session started, ISO 8601; `chance` the share
    of random orders of these days that divide as sharply; `metric` a key, 'ttft.p50'.
    """

    cell: Cell
    metric: str
    day: int
    days: int
    session: int
    sessions: int
    since: str
    change: float
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Days:
    """A history by the day (UTC): what the sessions of each amount to, and the place of its first session.

    The day is what counts because a machine's mood lasts: eight sessions of an afternoon are no eight witnesses.
    """

    history: History
    levels: tuple[float, ...]
    first_sessions: tuple[int, ...]


def drifts(histories: Iterable[History]) -> tuple[Drift, ...]:
    """Every history whose level changed and still is another one, in the order given.

    All chances are judged together (Benjamini & Hochberg 1995): what many cells show at once needs less evidence in
    each, and where nothing drifted a run has any warning with the probability `ACCEPTED_ERROR` at most.
    """
    watched = [days for history in histories if len((days := _by_day(history)).levels) >= LEAST_DAYS]
    divisions = _divisions([days.levels for days in watched])
    limit = largest_accepted([division.chance for division in divisions])
    return tuple(
        drift
        for days, division in zip(watched, divisions, strict=True)
        if division.chance <= limit
        for drift in [_drift(days, division)]
        if abs(math.log1p(drift.change)) >= LEAST_STEP * math.log1p(days.history.tolerance)
    )


def largest_accepted(chances: Sequence[float], error: float = ACCEPTED_ERROR) -> float:
    """The largest p(i) <= error * i / N of the N ascending chances; 0 if there is none."""
    ascending = np.sort(np.asarray(chances, dtype=np.float64))
    accepted = ascending[ascending <= error * np.arange(1, ascending.size + 1) / max(1, ascending.size)]
    return float(accepted[-1]) if accepted.size else 0.0


def _by_day(history: History) -> _Days:
    sessions = groupby(range(len(history.estimates)), key=lambda session: history.started_at[session][:10])
    days = [list(own) for _, own in sessions][-LONGEST_DAYS:]
    return _Days(
        history=history,
        levels=tuple(fmean(history.estimates[session] for session in own) for own in days),
        first_sessions=tuple(own[0] for own in days),
    )


def _divisions(watched: Sequence[tuple[float, ...]]) -> list[Division]:
    """The best division of each row of levels; those of one length are computed together."""
    draws = math.ceil(min(MOST_DRAWS, max(LEAST_DRAWS, 5 * len(watched) / ACCEPTED_ERROR)))
    found: dict[int, Division] = {}
    for length in sorted({len(levels) for levels in watched}):
        places = [place for place, levels in enumerate(watched) if len(levels) == length]
        rows = np.array([watched[place] for place in places])
        found.update(zip(places, divide(rows, draws=draws), strict=True))
    return [found[place] for place in range(len(watched))]


def _drift(days: _Days, division: Division) -> Drift:
    """The change is that of the median day before and after."""
    history, first = days.history, days.first_sessions[division.at]
    step = median(days.levels[division.at :]) - median(days.levels[: division.at])
    return Drift(
        cell=history.cell,
        metric=history.metric.key,
        day=division.at + 1,
        days=len(days.levels),
        session=first + 1,
        sessions=len(history.estimates),
        since=history.started_at[first],
        change=math.expm1(step),
        chance=division.chance,
    )
