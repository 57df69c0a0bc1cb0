"""Owns the words and the plot for a trend: a line a run, a plot of the levels, and where the level changed."""

from collections.abc import Callable, Sequence
from itertools import groupby
from statistics import median

from perfsuite.core.entry import STARTUP
from perfsuite.core.metrics import parse_metric
from perfsuite.core.resources import RESOURCES
from perfsuite.core.trend import LEAST_RUNS, NEEDED_GAIN, Point, Step
from perfsuite.core.units import format_change, format_ms, format_seconds
from perfsuite.report.headings import counted
from perfsuite.report.layout import Column, Line, table

SHOWN = 20
"""The latest runs have a line each, the plot has all."""
HEIGHT, WIDTH = 10, 72
DOT, BAR, SHORT_COMMIT = "•", "│", 12


def trend(cell: str, device: str, metric: str, points: Sequence[Point], steps: Sequence[Step]) -> tuple[Line, ...]:
    """Heading, the latest runs, the plot and the changes of level; `points` are one or more."""
    text = _unit(metric)
    sessions = counted(sum(point.sessions for point in points), "session")
    heading = f"{cell} on {device}: {_label(metric)}, {counted(len(points), 'run')}, {sessions}"
    changed = {step.at: step for step in steps}
    return (
        Line(heading, "bold"),
        Line(""),
        *_runs(points, changed, text),
        Line(""),
        *plot([point.level for point in points], list(changed), text),
        Line(""),
        *(_step(step, points) for step in steps),
        *([] if steps else [Line(_nothing(points))]),
    )


def _runs(points: Sequence[Point], changed: dict[int, Step], text: Callable[[float], str]) -> tuple[Line, ...]:
    first = max(0, len(points) - SHOWN)
    rows = range(first, len(points))
    before = [None if index == 0 else points[index - 1].level for index in rows]
    since = [
        "" if old is None else format_change(points[index].level / old - 1)
        for index, old in zip(rows, before, strict=True)
    ]
    columns = (
        Column(group="", title="run", cells=tuple(points[index].started_at for index in rows), left=True),
        Column(group="", title="commit", cells=tuple(_commit(points[index]) for index in rows), left=True),
        Column(group="", title="sessions", cells=tuple(str(points[index].sessions) for index in rows)),
        Column(group="", title="level", cells=tuple(text(points[index].level) for index in rows)),
        Column(group="", title="change", cells=tuple(since)),
        Column(group="", title="", cells=tuple("<- another level" if i in changed else "" for i in rows), left=True),
    )
    earlier = (Line(f"… {counted(first, 'earlier run')}"),) if first else ()
    return (*table(columns)[1:2], *earlier, *table(columns)[2:])


def plot(levels: Sequence[float], changes: Sequence[int], text: Callable[[float], str]) -> tuple[Line, ...]:
    """The levels from left to right, a column a run or, of many, a column for the median of several; a bar where the
    level changed.
    """
    count = min(len(levels), WIDTH)
    place = [index * count // len(levels) for index in range(len(levels))]
    shown = [median(levels[i] for i in own) for _, own in groupby(range(len(levels)), key=lambda index: place[index])]
    bars = {place[index] for index in changes}
    low, high = min(shown), max(shown)
    rows = [_height(level, low, high) for level in shown]
    labels = {HEIGHT - 1: text(high), 0: text(low)} if high > low else {HEIGHT // 2: text(low)}
    margin = max(map(len, labels.values()))
    return tuple(
        Line(f"{labels.get(row, '').rjust(margin)} ┤{_row(row, rows, bars)}".rstrip())
        for row in reversed(range(HEIGHT))
    )


def _row(row: int, rows: Sequence[int], bars: set[int]) -> str:
    return "".join(DOT if at == row else BAR if column in bars else " " for column, at in enumerate(rows))


def _height(level: float, low: float, high: float) -> int:
    return round((HEIGHT - 1) * (level - low) / (high - low)) if high > low else HEIGHT // 2


def _step(step: Step, points: Sequence[Point]) -> Line:
    """'another level since 2026-…Z, commit abc (run 9 of 16): +4.8 %, evidence 41; torch 2.11 -> 2.13'."""
    point = points[step.at]
    where = f"another level since {point.started_at}, commit {_commit(point)} (run {step.at + 1} of {len(points)})"
    told = f"{where}: {format_change(step.change)}, evidence {step.gain:.0f} ({NEEDED_GAIN:g} is needed)"
    return Line("; ".join((told, *step.differing)), "yellow" if step.change > 0 else "green")


def _nothing(points: Sequence[Point]) -> str:
    if len(points) < LEAST_RUNS:
        return f"no change of level can be seen in fewer than {LEAST_RUNS} runs, there are {len(points)}"
    return "no change of level"


def _commit(point: Point) -> str:
    return point.commit[:SHORT_COMMIT]


def _label(metric: str) -> str:
    if metric in RESOURCES:
        return RESOURCES[metric].label
    return metric if metric == STARTUP else parse_metric(metric, where="trend").label


def _unit(metric: str) -> Callable[[float], str]:
    if metric in RESOURCES:
        return RESOURCES[metric].text
    return format_seconds if metric == STARTUP else lambda value: f"{format_ms(value)} ms"
