"""Owns the choice of the cells that get another session: a pure function of verdicts; it reads no clock."""

import math
from collections.abc import Iterable, Mapping

from perfsuite.core.judgement import MOST_VOID_SESSIONS
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import Direction, parse_metric
from perfsuite.core.verdict import Judgement, Outcome, Verdict


def undecided(judgements: Iterable[Judgement], sessions_done: Mapping[str, int], *, limit: int) -> tuple[Cell, ...]:
    """The cells another session may decide, those closest to a fail first; equally close ones as they came.

    `sessions_done` counts the candidate sessions by cell id; a cell of which `limit` sessions are usable gets no more,
    and one of which sessions are void no more than two beyond that.
    """
    waiting = [
        judgement
        for judgement in judgements
        if sessions_done.get(judgement.cell.id, 0) < limit + MOST_VOID_SESSIONS
        and any(_is_open(verdict) and verdict.candidate_sessions < limit for verdict in judgement.all)
    ]
    return tuple(judgement.cell for judgement in sorted(waiting, key=_closeness, reverse=True))


def _is_open(verdict: Verdict) -> bool:
    return verdict.outcome is Outcome.INCONCLUSIVE and verdict.sessions_help


def _closeness(judgement: Judgement) -> float:
    return max(_lower_bound(verdict) for verdict in judgement.all if _is_open(verdict))


def _lower_bound(verdict: Verdict) -> float:
    """The least slowdown the 95 % interval leaves possible, in tolerances: above 0 it is slower, at 1 too slow."""
    if verdict.interval is None:
        return -math.inf
    lower_is_better = parse_metric(verdict.metric, where="verdict").direction is Direction.LOWER_IS_BETTER
    change = _log_ratio(verdict.interval.low) if lower_is_better else -_log_ratio(verdict.interval.high)
    return change / math.log1p(verdict.tolerance)


def _log_ratio(change: float) -> float:
    """The logarithm behind a relative change; -1, to which a huge drop is rounded, counts as almost -1."""
    return math.log1p(max(change, -1 + 1e-12))
