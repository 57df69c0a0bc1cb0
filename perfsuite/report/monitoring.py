"""Owns the lines on the machine under watch: what disturbed it, who else was busy, what nobody could see."""

from collections.abc import Iterable, Sequence

from perfsuite.core.disturbance import findings
from perfsuite.core.reading import HostReading, Place
from perfsuite.core.recording import Recording
from perfsuite.report.headings import counted
from perfsuite.report.layout import Line

WORTH_SAYING = 0.3
"""Cores that other processes kept busy on average; less is any machine's housekeeping."""
MOST_LINES = 10


def monitoring(recordings: Iterable[Recording]) -> tuple[Line, ...]:
    """What was found beside the samples, what of it only explains, and what nobody could see; empty if all was well."""
    watched = [recording for recording in recordings if recording.monitoring is not None]
    found = [line for recording in watched for line in _found(recording)]
    more = len(found) - MOST_LINES
    rest = [Line(f"… and {counted(more, 'more finding')} of the machine (--perf-json has all)", "yellow")]
    return (*found[:MOST_LINES], *(rest if more > 0 else ()), *_company(watched), *_unseen(watched))


def _found(recording: Recording) -> list[Line]:
    """'eager/tiny/p10-o32: session 1: process 4242 (python) used 63 % of the GPU during 3 of 352 samples; …'."""
    if recording.monitoring is None:
        return []
    taken = (*recording.samples, *recording.set_aside)
    anew = (
        f"; {counted(len(recording.set_aside), 'sample')} set aside, as many taken anew" if recording.set_aside else ""
    )
    where = f"{recording.cell.id}: session {recording.session + 1}"
    return [
        Line(f"{where}: {finding.detail} during {finding.samples} of {len(taken)} samples{anew}", "yellow")
        for finding in findings(taken, recording.monitoring)
    ]


def _company(watched: Sequence[Recording]) -> list[Line]:
    """How many cores other processes kept busy beside the samples; it explains noise and voids nothing."""
    readings = [reading for r in watched if r.monitoring for reading in r.monitoring.host if _is_whole(reading)]
    span_ns = sum(reading.span_ns for reading in readings)
    if not span_ns:
        return []
    others = sum((reading.busy_ns or 0) - (reading.own_ns or 0) for reading in readings) / span_ns
    if others < WORTH_SAYING:
        return []
    neighbours = {n for r in watched if r.monitoring for n in r.monitoring.neighbours if n.place is Place.HOST}
    worst = max(neighbours, key=lambda neighbour: neighbour.share or 0.0, default=None)
    named = f", process {worst.pid} ({worst.name}) most of all" if worst else ""
    return [
        Line(f"beside the samples other processes kept {others:.1f} of {readings[0].cores} cores busy{named}", "yellow")
    ]


def _is_whole(reading: HostReading) -> bool:
    return reading.busy_ns is not None and reading.own_ns is not None


def _unseen(watched: Sequence[Recording]) -> list[Line]:
    reasons = dict.fromkeys(reason for r in watched if r.monitoring for reason in r.monitoring.not_monitored)
    return [Line(f"not monitored: {reason}", "yellow") for reason in reasons]
