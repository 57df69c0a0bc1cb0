"""Owns what all plots share: the frame with its axes, paths of few bytes, marks that differ in shape."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from perfsuite.report.html.markup import Markup, join, number, tag, void
from perfsuite.report.html.scale import Scale, tick_text

WIDTH, HEIGHT = 360, 230
"""Of a plot, in its own units; on a phone one of them is a pixel, so that texts keep their size."""
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 20, 38
LINE = 13
"""Between two lines of text."""
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 3", "1 2", "8 2 2 2 2 2")
"""A dash pattern per strategy, beside its colour and its mark."""
SHAPES = (
    "m-4-4h8v8h-8z",
    "m0-5l5 5-5 5-5-5z",
    "m0-5l5 9h-10z",
    "m0 5l5-9h-10z",
    "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "m-5-2h3v-3h4v3h3v4h-3v3h-4v-3h-3z",
    "m-5-4h10l-5 4l5 4h-10l5-4z",
    "m0-5l1.5 3.5h3.5l-2.5 2.5l1 4-3.5-2-3.5 2 1-4-2.5-2.5h3.5z",
)
"""Marks that differ in shape, drawn around the place where the path is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where a plot's values lie, and what its axes are called."""

    x: Scale
    y: Scale
    x_title: str
    y_title: str
    x_ticks: tuple[float, ...] | None = None
    percent: bool = False


def inner_x(right: float = RIGHT, left: float = LEFT) -> tuple[float, float]:
    return left, WIDTH - right


def inner_y() -> tuple[float, float]:
    """From the bottom to the top: small values lie low."""
    return HEIGHT - BOTTOM, TOP


def axes(frame: Frame) -> Markup:
    """Grid, tick labels and titles with units."""
    x_ticks = list(frame.x_ticks) if frame.x_ticks else frame.x.ticks(5)
    y_ticks = frame.y.ticks(4)
    left, right, bottom, top = frame.x.start, frame.x.end, frame.y.start, frame.y.end
    marked = _spread([(tick, frame.y(tick)) for tick in y_ticks])
    grid = "".join(f"M{number(left)} {number(frame.y(tick))}H{number(right)}" for tick in y_ticks)
    below = [(frame.x(tick), tick_text(tick, x_ticks)) for tick in x_ticks]
    return join(
        (
            void("path", class_="grid", d=grid),
            void("path", class_="axis", d=f"M{number(left)} {number(top)}V{number(bottom)}H{number(right)}"),
            tag("g", *(_label(left - 5, place + 4, _value(t, y_ticks, frame)) for t, place in marked), class_="te"),
            tag("g", *(_label(place, bottom + 15, text) for place, text in _apart(below)), class_="tm"),
            tag("text", frame.x_title, class_="tm title", x=(left + right) / 2, y=HEIGHT - 5),
            tag("text", frame.y_title, class_="title", x=2, y=10),
        )
    )


def _value(tick: float, ticks: Sequence[float], frame: Frame) -> str:
    if frame.percent:
        return f"{100 * tick:.0f} %"
    return f"{tick:g}" if frame.y.is_log else tick_text(tick, ticks)


def _spread(ticks: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those ticks of the vertical axis whose labels do not run into the one below."""
    kept: list[tuple[float, float]] = []
    for tick, place in ticks:
        if not kept or kept[-1][1] - place >= LINE:
            kept.append((tick, place))
    return kept


def _label(x: float, y: float, text: str) -> Markup:
    return tag("text", text, x=x, y=y)


def _apart(labels: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Those labels that do not run into the one before."""
    kept: list[tuple[float, str]] = []
    for place, text in labels:
        if not kept or place - kept[-1][0] >= 3.4 * (len(text) + len(kept[-1][1])) + 5:
            kept.append((place, text))
    return kept


def line(points: Iterable[tuple[float, float]]) -> str:
    """A path through these places, relative and in whole units, which takes few bytes; points that coincide are one."""
    path: list[str] = []
    last: tuple[int, int] | None = None
    for place in points:
        x, y = round(place[0] * 2), round(place[1] * 2)
        if last is None:
            path.append(f"M{number(x / 2)} {number(y / 2)}")
        elif (x, y) != last:
            path.append(f"l{number((x - last[0]) / 2)} {number((y - last[1]) / 2)}")
        last = (x, y)
    return "".join(path).replace(" -", "-")


def mark(shape: str, x: float, y: float, css: str, title: str = "") -> Markup:
    """A shape at a place, named by its title where a reader points at it."""
    named = [tag("title", title)] if title else []
    return tag("path", *named, class_=css, d=f"M{number(x)} {number(y)}{shape}")


def marks(shape: str, places: Iterable[tuple[float, float]], css: str) -> list[Markup]:
    """The shape at many places, in one path; none at none."""
    path = "".join(f"M{number(x)} {number(y)}{shape}" for x, y in places)
    return [void("path", class_=css, d=path)] if path else []


def figure(caption: Markup | str, description: str, *parts: str, height: float = HEIGHT, under: str = "") -> Markup:
    """A plot with a visible caption, and a description for who cannot see it."""
    box = f"0 0 {WIDTH} {number(height)}"
    drawing = tag("svg", *parts, viewbox=box, role="img", aria_label=description)
    below = [tag("p", under, class_="key")] if under else []
    return tag("figure", tag("figcaption", caption), drawing, *below)


def key(css: str, text: str, *, dash: str = "", shape: str = "") -> Markup:
    """An entry of a legend: a stroke or a shape as it is drawn, then what it stands for."""
    drawn = mark(shape, 12, 6, css) if shape else void("path", class_=css, d="M0 6H24", stroke_dasharray=dash or None)
    swatch = tag("svg", drawn, viewbox="0 0 24 12", class_="swatch", aria_hidden="true")
    return tag("span", swatch, text)
