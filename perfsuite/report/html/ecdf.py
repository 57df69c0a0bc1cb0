"""Owns the distribution plot: the share of samples below each latency, the candidate's over the baseline's sessions."""

from collections.abc import Sequence

import numpy as np

from perfsuite.core.metrics import Series
from perfsuite.core.recording import Recording
from perfsuite.core.units import format_change, format_ms, to_ms
from perfsuite.report.html.detail import Detail, quantile_points
from perfsuite.report.html.markup import Markup, join, tag, void
from perfsuite.report.html.plot import SHAPES, Frame, axes, figure, inner_x, inner_y, key, line, mark
from perfsuite.report.html.scale import Scale, spanning

SHOWN_TO = 0.99
"""The time axis ends a little behind this quantile: one stray second would flatten everything else."""
Sides = tuple[list[list[float]], list[list[float]]]


def ecdf(series: Series, stored: Sequence[Recording], measured: Sequence[Recording], detail: Detail) -> Markup | str:
    """The figure; empty if the candidate has no values of the series."""
    old, new = (_values(series, side) for side in (stored, measured))
    if not new:
        return ""
    frame = _frame(old, new)
    curves = [
        *(_side(frame, old, "base", detail) if old else ()),
        *_side(frame, new, "cand", detail),
    ]
    told = [("base", "baseline", SHAPES[4], old)] if old else []
    entries = [_entry(css, name, shape, own) for css, name, shape, own in (*told, ("cand", "now", SHAPES[1], new))]
    caption = join((tag("b", f"{series.label}: distribution"), _change(old, new)))
    described = f"Empirical distribution of {series.label} in milliseconds; " + "; ".join(
        _words(o) for o in (old, new) if o
    )
    under = join((*entries, _beyond(frame, [*old, *new])))
    return figure(caption, described, axes(frame), *curves, under=under)


def _values(series: Series, recordings: Sequence[Recording]) -> list[list[float]]:
    found = [[to_ms(value) for value in series.values(recording)] for recording in recordings]
    return [values for values in found if values]


def _pooled(sessions: Sequence[Sequence[float]]) -> list[float]:
    return [value for values in sessions for value in values]


def _frame(old: list[list[float]], new: list[list[float]]) -> Frame:
    shown = [
        edge
        for side in (old, new)
        if side
        for edge in (min(_pooled(side)), float(np.quantile(_pooled(side), SHOWN_TO)))
    ]
    return Frame(
        x=spanning(shown, *inner_x()),
        y=Scale(low=0.0, high=1.0, start=inner_y()[0], end=inner_y()[1]),
        x_title="ms",
        y_title="",
        percent=True,
    )


def _side(frame: Frame, sessions: list[list[float]], css: str, detail: Detail) -> list[Markup]:
    """A thin curve for each session, a thick one over all, and a mark at the median."""
    drawn = sessions[: detail.sessions] if len(sessions) > 1 else []
    thin = "".join(line(_places(frame, values, detail.session)) for values in drawn)
    pooled = _pooled(sessions)
    thick = line(_places(frame, pooled, detail.pooled))
    middle = float(np.median(pooled))
    shape = SHAPES[4] if css == "base" else SHAPES[1]
    return [
        *([void("path", class_=f"{css} thin", d=thin)] if thin else []),
        void("path", class_=f"{css} thick", d=thick),
        mark(shape, frame.x(middle), frame.y(0.5), f"{css} dot", f"P50 {middle:.4g} ms"),
    ]


def _places(frame: Frame, values: Sequence[float], count: int) -> list[tuple[float, float]]:
    """Up to the edge of the frame, and from its bottom."""
    found = [(x, y) for x, y in quantile_points(values, count) if x <= frame.x.high]
    if not found:
        return []
    return [(frame.x(found[0][0]), frame.y(0.0)), *((frame.x(x), frame.y(y)) for x, y in found)]


def _entry(css: str, name: str, shape: str, sessions: list[list[float]]) -> Markup:
    pooled = _pooled(sessions)
    p50, p99 = (format_ms(1e6 * float(np.quantile(pooled, p))) for p in (0.5, 0.99))
    tail = f", P99 {p99}" if len(pooled) >= 299 else ""
    counted = f"{len(sessions)}x{len(pooled) // len(sessions)}"
    return key(f"{css} dot", f"{name}: P50 {p50}{tail} ms, n={counted}", shape=shape)


def _change(old: list[list[float]], new: list[list[float]]) -> str:
    if not old:
        return ""
    return f", P50 {format_change(float(np.median(_pooled(new)) / np.median(_pooled(old))) - 1)}"


def _words(sessions: list[list[float]]) -> str:
    return f"median {np.median(_pooled(sessions)):.4g} ms over {len(sessions)} sessions"


def _beyond(frame: Frame, sessions: list[list[float]]) -> str:
    """What the axis leaves out is said."""
    beyond = [value for values in sessions for value in values if value > frame.x.high]
    return tag("span", f"{len(beyond)} of all samples beyond the axis, up to {max(beyond):.4g} ms") if beyond else ""
