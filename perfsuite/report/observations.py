"""Owns the words for what was observed beside the verdicts: a line on outliers, one on drift, where there are any."""

from collections.abc import Sequence

from perfsuite.core.metrics import SERIES
from perfsuite.core.observations import OUTLYING_MADS, Observation
from perfsuite.core.units import format_change
from perfsuite.report.headings import counted
from perfsuite.report.layout import Line

SHOWN = 3
USUAL_DRIFTS = 0.02
"""Share of series that drift by chance alone, at most; below, drift is not worth a line."""


def observations(found: Sequence[Observation]) -> tuple[Line, ...]:
    """What a reader may want to know of samples that all stayed in."""
    return (*_outliers(found), *_drifts(found))


def _outliers(found: Sequence[Observation]) -> tuple[Line, ...]:
    outliers, samples = sum(each.outliers for each in found), sum(each.samples for each in found)
    if not outliers:
        return ()
    return (
        Line(f"outliers: {outliers} of {samples} values lie over {OUTLYING_MADS:g} MAD from their median; all kept"),
    )


def _drifts(found: Sequence[Observation]) -> tuple[Line, ...]:
    drifting = sorted((each for each in found if each.drift), key=lambda each: abs(each.drift or 0.0), reverse=True)
    if len(drifting) <= USUAL_DRIFTS * len(found):
        return ()
    shown = ", ".join(
        f"{each.cell.id} {SERIES[each.series].label} {format_change(each.drift or 0.0)} (session {each.session + 1})"
        for each in drifting[:SHOWN]
    )
    more = f" and {len(drifting) - SHOWN} more" if len(drifting) > SHOWN else ""
    head = f"drift inside {counted(len(drifting), 'session')} of {len(found)}, second half against first"
    return (Line(f"{head}: {shown}{more}"),)
