"""Owns the suspicion that the machine got slower rather than the code: many cells of different strategies at once."""

from collections.abc import Sequence

from perfsuite.core.metrics import Direction, parse_metric
from perfsuite.core.verdict import Judgement, Verdict

SUSPICIOUS_SHARE = 0.25
"""Cells of different code paths have only the machine in common (docs/gate.md 8)."""


def suspicion(judgements: Sequence[Judgement]) -> str | None:
    """A sentence if more than a quarter of the cells, of two strategies at least, are slower at once; else `None`.

    A cell counts if the 95 % interval of one of its metrics lies wholly on the worse side.
    """
    compared = [each for each in judgements if any(verdict.interval for verdict in each.verdicts)]
    slower = [each for each in compared if any(map(_is_worse, each.verdicts))]
    strategies = {each.cell.strategy for each in slower}
    if len(strategies) < 2 or len(slower) <= SUSPICIOUS_SHARE * len(compared):
        return None
    return (
        f"{len(slower)} of {len(compared)} cells of {len(strategies)} strategies are slower at once: before the code, "
        "suspect what they share: the machine, its clocks and neighbours, the driver, torch"
    )


def _is_worse(verdict: Verdict) -> bool:
    if verdict.interval is None:
        return False
    if parse_metric(verdict.metric, where="verdict").direction is Direction.LOWER_IS_BETTER:
        return verdict.interval.low > 0
    return verdict.interval.high < 0
