"""Owns what SM clocks say of times: cycles beside milliseconds, and changes that are the clock's and not the code's."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from perfsuite.core.metrics import SERIES, Metric
from perfsuite.core.reading import DeviceReading
from perfsuite.core.recording import Recording
from perfsuite.core.rules import LEAST_READINGS, steady
from perfsuite.core.sample import Sample
from perfsuite.core.units import format_change
from perfsuite.core.verdict import Outcome, Verdict

MHZ_PER_NS = 1000
"""Nanoseconds times megahertz over this are cycles."""
VANISHED = 0.5
"""A slowdown of which the cycles show this share of the tolerance or less is the clock's."""


def usual_clock(recordings: Sequence[Recording]) -> float | None:
    """The median SM clock in MHz where neither idleness nor the power cap lowered it; `None` if that is not known."""
    found = [
        reading.sm_mhz or 0 for r in recordings if r.monitoring is not None for reading in steady(r.monitoring.device)
    ]
    return median(found) if len(found) >= LEAST_READINGS else None


def mean_clock(recordings: Sequence[Recording]) -> float | None:
    """The mean SM clock in MHz, whatever lowered it."""
    found = [reading.sm_mhz for r in recordings for reading in _clocked(r) if reading.sm_mhz]
    return sum(found) / len(found) if found else None


def cycles(metric: Metric, recording: Recording) -> list[float]:
    """Every value of a series in SM cycles, by the clock that was read nearest to it; empty where none was."""
    readings = _clocked(recording)
    series = SERIES[metric.series]
    if not readings:
        return []
    times = [reading.at_ns for reading in readings]
    return [
        value * (_nearest(readings, times, sample).sm_mhz or 0) / MHZ_PER_NS
        for sample in recording.of_phase(series.phase)
        if sample.sent_ns is not None
        for value in series.of_sample(sample)
    ]


def median_cycles(metric: Metric, recordings: Sequence[Recording]) -> float | None:
    """The geometric mean of the sessions' medians in cycles; `None` unless each of them knows its clocks."""
    found = [values for recording in recordings if (values := cycles(metric, recording))]
    if not found or len(found) < len(recordings):
        return None
    return math.exp(sum(math.log(median(values)) for values in found) / len(found))


def with_cycles(
    verdict: Verdict, metric: Metric, stored: Sequence[Recording], measured: Sequence[Recording]
) -> Verdict:
    """The verdict with its change in cycles; a slowdown that vanishes in them is a clock change and left undecided.

    A pass stays as it is: cycles never make one, nor take one back.
    """
    if verdict.change is None or verdict.outcome is Outcome.PASSED or metric.statistic.is_tail:
        return verdict
    there, here = median_cycles(metric, stored), median_cycles(metric, measured)
    if there is None or here is None:
        return verdict
    change = here / there - 1
    told = replace(verdict, cycles_change=change)
    before, after = mean_clock(stored), mean_clock(measured)
    is_clock = before and after and after < before and change <= VANISHED * verdict.tolerance
    if verdict.outcome is not Outcome.REGRESSED or not is_clock:
        return told
    return replace(
        told,
        outcome=Outcome.INCONCLUSIVE,
        reason=(
            f"a clock change, not a regression: the mean SM clock went from {before:.0f} to {after:.0f} MHz, in cycles "
            f"{format_change(change)}"
        ),
        remedy="a machine at the baseline's clocks",
    )


def _clocked(recording: Recording) -> list[DeviceReading]:
    readings = recording.monitoring.device if recording.monitoring is not None else ()
    return [reading for reading in readings if reading.sm_mhz]


def _nearest(readings: Sequence[DeviceReading], times: Sequence[int], sample: Sample) -> DeviceReading:
    """The reading nearest to the middle of a request."""
    middle = (sample.sent_ns or 0) + sample.e2e_ns // 2
    index = bisect_left(times, middle)
    around = readings[max(0, index - 1) : index + 1]
    return min(around, key=lambda reading: abs(reading.at_ns - middle))
