"""Owns the comparison of strategies: latency against memory and startup, the Pareto front, and when compiling pays."""

import math
from collections.abc import Sequence

from perfsuite.core.tradeoff import Offer, dominators
from perfsuite.core.units import NS_PER_S, format_bytes, format_ms, format_seconds, to_ms
from perfsuite.report.headings import counted
from perfsuite.report.html.lengths import style_of
from perfsuite.report.html.markup import Markup, join, table, tag, void
from perfsuite.report.html.plot import SHAPES, WIDTH, Frame, axes, figure, inner_x, inner_y, key, line, mark
from perfsuite.report.html.scale import spanning
from perfsuite.report.offers import arms_of, common_length, offer_of, payback
from perfsuite.report.rows import Row

TITLES = ("strategy", "E2E P50", "startup", "memory", "", "pays back against the first")
LOG_FROM = 8.0


def comparison(rows: Sequence[Row], strategies: Sequence[str]) -> Markup | str:
    """Plots and a table over the strategies of one model and kind of workload; empty unless there are two.

    The latency of a strategy is its E2E P50 at the longest prompt that all of them were measured with.
    """
    length = common_length(rows)
    arms = arms_of(rows)
    if length is None:
        return ""
    offers = [offer_of(own, length) for own in arms]
    beaten = dominators(offers)
    plots = join((_scatter(offers, beaten, strategies, "startup_ns"), _scatter(offers, beaten, strategies, "memory")))
    tokens = arms[0][0].cell.workload.output_tokens
    head = tag("p", f"A request of {length} prompt and {counted(tokens, 'output token')}, E2E P50.", class_="quiet")
    return join((head, tag("div", plots, class_="plots"), _table(offers, beaten)))


def _scatter(offers: Sequence[Offer], beaten: dict[str, str], strategies: Sequence[str], name: str) -> Markup | str:
    """Latency over what else it takes; the lower left is best."""
    title, scale = _axis(offers, name)
    points = [(offer, value * scale) for offer in offers if (value := getattr(offer, name)) is not None]
    if len(points) < 2:
        return ""
    values = [value for _, value in points]
    is_log = min(values) > 0 and max(values) / min(values) > LOG_FROM
    frame = Frame(
        x=spanning(values, *inner_x(right=20), is_log=is_log, pad=0.12),
        y=spanning([to_ms(offer.latency_ns) for offer in offers], *inner_y(), pad=0.15),
        x_title=title + (", logarithmic" if is_log else ""),
        y_title="E2E P50, ms",
    )
    places = [(offer, frame.x(value), frame.y(to_ms(offer.latency_ns))) for offer, value in points]
    front = _front([(x, y) for _, x, y in places])
    described = f"E2E P50 against {title}: " + "; ".join(f"{o.name} {to_ms(o.latency_ns):.4g} ms" for o, _, _ in places)
    parts = (void("path", class_="front", d=line(front)), *_dots(places, beaten, strategies))
    told = join((key("front", "best of these two together"), key("hollow dot", "beaten by another", shape=SHAPES[4])))
    return figure(tag("b", f"Latency and {title.partition(',')[0]}"), described, axes(frame), *parts, under=told)


def _axis(offers: Sequence[Offer], name: str) -> tuple[str, float]:
    """Its title with the unit, and what brings values to that unit."""
    if name == "startup_ns":
        return "startup, s", 1 / NS_PER_S
    in_gib = max((offer.memory for offer in offers if offer.memory is not None), default=0.0) >= 2**30
    return ("memory, GiB", 2.0**-30) if in_gib else ("memory, MiB", 2.0**-20)


def _front(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The stairs along those places that no other is left of and below; a plot's y grows downwards."""
    stairs: list[tuple[float, float]] = []
    lowest = -math.inf
    for x, y in sorted(places, key=lambda place: (place[0], -place[1])):
        if y > lowest:
            stairs += [(x, lowest), (x, y)] if stairs else [(x, y)]
            lowest = y
    return stairs


def _dots(
    places: Sequence[tuple[Offer, float, float]], beaten: dict[str, str], strategies: Sequence[str]
) -> list[Markup]:
    drawn: list[Markup] = []
    taken: list[float] = []
    for offer, x, y in sorted(places, key=lambda place: place[2]):
        style = style_of(strategies, offer.name)
        hollow = " hollow" if offer.name in beaten else ""
        drawn.append(mark(SHAPES[style], x, y, f"s{style} dot{hollow}", f"{offer.name}: {_words(offer)}"))
        is_right = x > WIDTH * 0.6
        row = max([y - 7, *(other + 12 for other in taken if abs(other - (y - 7)) < 12)])
        taken.append(row)
        side = {"x": x - 8 if is_right else x + 8, "y": row, "text_anchor": "end" if is_right else None}
        drawn.append(tag("text", offer.name, class_=f"s{style} name", **side))
    return drawn


def _words(offer: Offer) -> str:
    parts = [f"{format_ms(offer.latency_ns)} ms"]
    parts += [] if offer.startup_ns is None else [f"starts in {format_seconds(offer.startup_ns)}"]
    parts += [] if offer.memory is None else [format_bytes(round(offer.memory))]
    return ", ".join(parts)


def _table(offers: Sequence[Offer], beaten: dict[str, str]) -> Markup:
    rows = [
        (
            offer.name,
            f"{format_ms(offer.latency_ns)} ms",
            "-" if offer.startup_ns is None else format_seconds(offer.startup_ns),
            "-" if offer.memory is None else format_bytes(round(offer.memory)),
            f"beaten by {beaten[offer.name]}" if offer.name in beaten else "◆ on the Pareto front",
            "" if offer is offers[0] else payback(offer, offers[0]),
        )
        for offer in offers
    ]
    return table(TITLES, rows, label="strategies compared")
