"""Owns the trace: every sample of the candidate in the order it was taken, with warm-ups and what is marked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perfsuite.core.baseline import Baseline
from perfsuite.core.machine import canary_ranges, guards
from perfsuite.core.metrics import Metric, Series, Statistic
from perfsuite.core.observations import OUTLYING_MADS
from perfsuite.core.recording import Recording
from perfsuite.core.sample import Sample
from perfsuite.core.units import to_ms
from perfsuite.report.html.detail import Detail, extremes
from perfsuite.report.html.markup import Markup, join, number, tag, void
from perfsuite.report.html.plot import SHAPES, Frame, axes, figure, inner_x, inner_y, key, line, marks
from perfsuite.report.html.scale import Scale, spanning

MOST_MARKS = 60
"""Marks of one kind that are drawn; the count is said whatever it is."""
CROSS = "m-3.5-3.5l7 7m0-7l-7 7"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One session as the trace shows it, milliseconds in the order taken; `void` are the places of void blocks."""

    name: str
    warmups: tuple[float, ...]
    values: tuple[float, ...]
    set_aside: tuple[float, ...]
    void: tuple[tuple[int, int], ...]

    @property
    def length(self) -> int:
        return len(self.warmups) + len(self.values) + len(self.set_aside)

    @property
    def outliers(self) -> list[int]:
        """Places of the values that lie further from the median than so many times the usual distance."""
        values = np.asarray(self.values)
        distances = np.abs(values - np.median(values)) if values.size else values
        reach = OUTLYING_MADS * float(np.median(distances)) if values.size else 0.0
        return [int(place) for place in np.flatnonzero(distances > reach)] if reach else []


def trace(series: Series, measured: Sequence[Recording], baseline: Baseline | None, detail: Detail) -> Markup | str:
    """The figure; empty if the candidate has no values of the series."""
    runs = [run for recording in measured if (run := _run(series, recording, baseline)).values]
    if not runs:
        return ""
    stored = [to_ms(v) for r in baseline.recordings for v in series.values(r)] if baseline else []
    frame = _frame(runs, stored)
    begins = [sum(run.length for run in runs[:index]) for index in range(len(runs))]
    drawn = [part for run, begin in zip(runs, begins, strict=True) for part in _drawn(frame, run, begin, detail)]
    captioned = (
        f"{series.label}: {len(runs)} sessions in the order taken" if len(runs) > 1 else f"{series.label}: trace"
    )
    described = f"{series.label} of every sample in milliseconds, {len(runs)} sessions"
    parts = (*_reference(frame, stored), axes(frame), *_separators(frame, begins), *drawn)
    return figure(tag("b", captioned), described, *parts, under=_key(frame, runs, bool(stored)))


def _run(series: Series, recording: Recording, baseline: Baseline | None) -> Session:
    def times(samples: Sequence[Sample]) -> tuple[float, ...]:
        own = (sample for sample in samples if sample.phase is series.phase)
        return tuple(to_ms(value) for sample in own for value in series.of_sample(sample))

    return Session(
        name=f"session {recording.session + 1}",
        warmups=times(recording.warmups),
        values=times(recording.samples),
        set_aside=times(recording.set_aside),
        void=_void(series, recording, baseline) if baseline else (),
    )


def _void(series: Series, recording: Recording, baseline: Baseline) -> tuple[tuple[int, int], ...]:
    """From which place to which the values of each void block lie."""
    mode = baseline.mode(Metric(series=series.name, statistic=Statistic.P50))
    ranges = guards(series, mode, canary_ranges(baseline.recordings))
    outside = {r.block for r in recording.canaries if r.canary in ranges and not ranges[r.canary].holds(r.duration_ns)}
    found, place = [], 0
    for block, values in series.by_block(recording).items():
        if block in outside:
            found.append((place, place + len(values)))
        place += len(values)
    return tuple(found)


def _frame(runs: Sequence[Session], stored: Sequence[float]) -> Frame:
    values = [value for run in runs for value in run.values]
    reference = [float(np.quantile(stored, p)) for p in (0.05, 0.95)] if stored else []
    edges = [min(values), float(np.quantile(values, 0.99)), *reference]
    count = sum(run.length for run in runs)
    return Frame(
        x=Scale(low=0.0, high=float(max(count, 2)), start=inner_x()[0], end=inner_x()[1]),
        y=spanning(edges, *inner_y(), pad=0.15),
        x_title="sample",
        y_title="ms",
    )


def _reference(frame: Frame, stored: Sequence[float]) -> list[Markup]:
    """The baseline's median, and where nine of ten of its samples lie."""
    if not stored:
        return []
    low, middle, high = (frame.y(float(np.quantile(stored, p))) for p in (0.05, 0.5, 0.95))
    left, right = frame.x.start, frame.x.end
    return [
        void("rect", class_="base band", x=left, y=high, width=right - left, height=max(low - high, 0.5)),
        void("path", class_="base thick", d=f"M{number(left)} {number(middle)}H{number(right)}"),
    ]


def _separators(frame: Frame, begins: Sequence[int]) -> list[Markup]:
    places = [number(frame.x(begin)) for begin in begins[1:]]
    path = "".join(f"M{place} {number(frame.y.end)}V{number(frame.y.start)}" for place in places)
    return [void("path", class_="session", d=path)] if path else []


def _drawn(frame: Frame, run: Session, begin: int, detail: Detail) -> list[Markup]:
    first = begin + len(run.warmups)
    points = [(frame.x(first + index), frame.y(value)) for index, value in extremes(run.values, detail.trace)]
    outliers = [(first + index, run.values[index]) for index in run.outliers]
    behind = first + len(run.values)
    return [
        *_shaded(frame, run, first),
        void("path", class_="cand trace", d=line(points)),
        *_marks(frame, [(begin + index, value) for index, value in enumerate(run.warmups)], SHAPES[0], "warm"),
        *_marks(frame, outliers, SHAPES[2], "far"),
        *_marks(frame, [(behind + index, value) for index, value in enumerate(run.set_aside)], CROSS, "aside"),
    ]


def _shaded(frame: Frame, run: Session, first: int) -> list[Markup]:
    top, height = frame.y.end, frame.y.start - frame.y.end
    return [
        void("rect", class_="void", x=frame.x(first + a), y=top, width=frame.x(b) - frame.x(a), height=height)
        for a, b in run.void
    ]


def _marks(frame: Frame, places: Sequence[tuple[int, float]], shape: str, css: str) -> list[Markup]:
    return marks(shape, [(frame.x(x), frame.y(y)) for x, y in places[:MOST_MARKS]], f"{css} dot")


def _key(frame: Frame, runs: Sequence[Session], has_baseline: bool) -> Markup:
    counts = {
        "warm": (SHAPES[0], sum(len(run.warmups) for run in runs), "warm-up, in no number"),
        "far": (SHAPES[2], sum(len(run.outliers) for run in runs), f"over {OUTLYING_MADS:g} MAD off the median, kept"),
        "aside": (
            CROSS,
            sum(len(run.set_aside) for run in runs),
            "set aside and taken anew: the machine was disturbed",
        ),
    }
    entries = [key(f"{css} dot", f"{n} {text}", shape=shape) for css, (shape, n, text) in counts.items() if n]
    void_blocks = sum(len(run.void) for run in runs)
    if void_blocks:
        entries.append(key("void", f"{void_blocks} void blocks: a canary left its range", shape="m-10-5h20v10h-20z"))
    if has_baseline:
        entries.append(key("base thick", "baseline: P50, and P5 to P95"))
    above = [v for run in runs for v in (*run.warmups, *run.values, *run.set_aside) if v > frame.y.high]
    told = (
        [tag("span", f"{len(above)} above the axis are drawn at its edge, up to {max(above):.4g} ms")] if above else []
    )
    return join((*entries, *told))
