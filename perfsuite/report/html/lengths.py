"""Owns the plot of latency over prompt length: a curve per strategy, with the hardware's floor below them."""

from collections.abc import Mapping, Sequence

from perfsuite.core.metrics import SERIES
from perfsuite.core.summary import Summary
from perfsuite.core.units import format_ms, to_ms
from perfsuite.report.achieved import roofline_of
from perfsuite.report.html.markup import Markup, join, number, tag, void
from perfsuite.report.html.plot import DASHES, SHAPES, Frame, axes, figure, inner_x, inner_y, key, line, mark
from perfsuite.report.html.scale import Scale, spanning
from perfsuite.report.rows import Row, grouped

LABELS = 100
"""Room for the names at the ends of the curves."""
LOG_FROM = 4.0
"""The axis of times is logarithmic where they span a larger factor."""
CHARACTER, LINE = 6.0, 12
Points = Sequence[tuple[int, Summary]]


def style_of(strategies: Sequence[str], name: str) -> int:
    """Which colour, dash and mark a strategy has on every plot of a page."""
    return strategies.index(name) % len(DASHES)


def length_plots(rows: Sequence[Row], strategies: Sequence[str]) -> Markup:
    """TTFT and TPOT of one model and kind of workload."""
    return join(_plot(rows, strategies, series) for series in ("ttft", "tpot"))


def _plot(rows: Sequence[Row], strategies: Sequence[str], series: str) -> Markup | str:
    curves = {
        own[0].cell.strategy_slug: points
        for own in grouped(rows, lambda row: row.cell.strategy_slug)
        if (points := [(row.prompt_tokens, row.summaries[series]) for row in own if series in row.summaries])
    }
    if not curves:
        return ""
    floor = _floor(rows, series)
    frame = _frame(curves, floor)
    ends = [(name, frame.y(_median(points[-1][1]))) for name, points in curves.items()]
    drawn = [part for name, points in curves.items() for part in _curve(frame, name, points, strategies)]
    label = f"{SERIES[series].label} P50 over prompt length"
    described = f"{label}: " + "; ".join(_words(name, points) for name, points in curves.items())
    parts = (*_floor_parts(frame, floor), axes(frame), *drawn, *_names(frame, ends, strategies))
    return figure(tag("b", label), described, *parts, under=_key(bool(floor)))


def _median(summary: Summary) -> float:
    return to_ms(summary.p50.value if summary.p50.value is not None else summary.mean)


def _floor(rows: Sequence[Row], series: str) -> list[tuple[int, float]]:
    """(prompt length, milliseconds) by the best limits that any row knows."""
    roofline = roofline_of([recording for row in rows for recording in row.recordings])
    if roofline is None:
        return []
    workloads = {row.prompt_tokens: row.cell.workload for row in rows}
    floors = {length: roofline.series(workloads[length]).get(series) for length in sorted(workloads)}
    return [(length, to_ms(floor)) for length, floor in floors.items() if floor]


def _frame(curves: Mapping[str, Points], floor: Sequence[tuple[int, float]]) -> Frame:
    lengths = [length for points in curves.values() for length, _ in points]
    values = [_median(summary) for points in curves.values() for _, summary in points]
    values += [value for _, value in floor]
    is_log = min(values) > 0 and max(values) / min(values) > LOG_FROM
    left, right = inner_x(right=LABELS)
    y = spanning(values, *inner_y(), is_log=is_log, pad=0.08)
    if not is_log:
        y = Scale(low=0.0, high=y.high, start=y.start, end=y.end)
    return Frame(
        x=Scale(
            low=float(min(lengths)), high=float(max(lengths)) + (len(set(lengths)) == 1), start=left + 6, end=right
        ),
        y=y,
        x_title="prompt, tokens",
        y_title="ms, logarithmic" if is_log else "ms",
        x_ticks=tuple(map(float, sorted(set(lengths)))),
    )


def _curve(frame: Frame, name: str, points: Points, strategies: Sequence[str]) -> list[Markup]:
    style = style_of(strategies, name)
    places = [(frame.x(length), frame.y(_median(summary))) for length, summary in points]
    return [
        void("path", class_=f"s{style} spread", d=_whiskers(frame, points)),
        void("path", class_=f"s{style} curve", d=line(places), stroke_dasharray=DASHES[style] or None),
        *(
            mark(SHAPES[style], x, y, f"s{style} dot", f"{name}, {length} tokens: {_told(summary)}")
            for (x, y), (length, summary) in zip(places, points, strict=True)
        ),
    ]


def _whiskers(frame: Frame, points: Points) -> str:
    """The 95 % interval of each median."""
    return "".join(
        f"M{number(frame.x(length))} {number(frame.y(to_ms(interval.low)))}V{number(frame.y(to_ms(interval.high)))}"
        for length, summary in points
        if (interval := summary.p50.interval) is not None
    )


def _told(summary: Summary) -> str:
    tail = "" if summary.p99.value is None else f", P99 {format_ms(summary.p99.value)} ms"
    return f"P50 {_median(summary):.4g} ms{tail}, n={summary.count}"


def _names(frame: Frame, ends: Sequence[tuple[str, float]], strategies: Sequence[str]) -> list[Markup]:
    """Each curve's name at its end, moved apart where curves end close together."""
    placed: list[Markup] = []
    last = frame.y.end - LINE
    ordered = sorted(ends, key=lambda end: end[1])
    room = frame.y.start - LINE * (len(ordered) - 1)
    for index, (name, y) in enumerate(ordered):
        last = min(max(y, last + LINE), room + LINE * index)
        most = int((LABELS - 10) / CHARACTER)
        short = name if len(name) <= most else f"{name[: most - 1]}…"
        css = f"s{style_of(strategies, name)} name"
        placed.append(tag("text", short, class_=css, x=frame.x.end + 9, y=last + 4))
    return placed


def _floor_parts(frame: Frame, floor: Sequence[tuple[int, float]]) -> list[Markup]:
    if not floor:
        return []
    places = [(frame.x(length), frame.y(value)) for length, value in floor]
    if len(places) == 1:
        places = [(frame.x.start, places[0][1]), (frame.x.end, places[0][1])]
    bottom = number(frame.y.start)
    area = f"{line(places)}V{bottom}H{number(places[0][0])}z"
    return [void("path", class_="below", d=area), void("path", class_="floor", d=line(places))]


def _key(has_floor: bool) -> Markup:
    told = [tag("span", "bars are the 95 % interval of P50")]
    if has_floor:
        told.insert(0, key("floor", "hardware floor: nothing can be below"))
    return join(told)


def _words(name: str, points: Points) -> str:
    (first, fast), (last, slow) = points[0], points[-1]
    return f"{name} {_median(fast):.4g} ms at {first} tokens to {_median(slow):.4g} ms at {last}"
