"""Owns how near a cell comes to its roofline: the floor over the median, by the best limits of its sessions."""

from collections.abc import Mapping, Sequence

from perfsuite.core.recording import Recording
from perfsuite.core.roofline import Limit, Roofline, strongest
from perfsuite.core.summary import Summary
from perfsuite.core.units import format_share
from perfsuite.report.columns import UNKNOWN
from perfsuite.report.headings import recordings_of
from perfsuite.report.layout import Column, Line
from perfsuite.report.rows import Row

SHOWN = {"ttft": "TTFT", "tpot": "TPOT"}
LEGEND = "of limit is floor / P50: the least time to read the weights and the cache, or to compute, over what it took"


def roofline_of(recordings: Sequence[Recording]) -> Roofline | None:
    """The roofline of one cell's sessions; `None` if none of them knows one."""
    return strongest(recording.roofline for recording in recordings if recording.roofline is not None)


def achieved(recordings: Sequence[Recording], summaries: Mapping[str, Summary]) -> dict[str, float]:
    """Floor / P50 by series, 1 at the limit; a series without a floor or a median is absent."""
    roofline = roofline_of(recordings)
    floors = roofline.series(recordings[0].cell.workload) if roofline else {}
    medians = {name: summary.p50.value for name, summary in summaries.items()}
    return {name: floor / median for name, floor in floors.items() if (median := medians.get(name))}


def achieved_columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """TTFT and TPOT as shares of the limit; none at all where no row knows its limits."""
    shares = [achieved(row.recordings, row.summaries) for row in rows]
    if not any(shares):
        return ()
    return tuple(
        Column(group="of limit", title=title, cells=tuple(_share(found.get(series)) for found in shares))
        for series, title in SHOWN.items()
    )


def _share(fraction: float | None) -> str:
    return UNKNOWN if fraction is None else format_share(fraction)


def limits_lines(rows: Sequence[Row]) -> tuple[Line, ...]:
    """'limits, measured: read bandwidth 3.06 TB/s, matrix rate 800 TFLOP/s'; none where none are known."""
    roofline = roofline_of(recordings_of(rows))
    words = ", ".join(filter(None, map(roofline.limits.words, Limit))) if roofline else ""
    return (Line(f"limits, measured: {words}"),) if words else ()
