"""Owns markup as text: elements with escaped attributes and children, so that no name or message can break a page."""

from collections.abc import Iterable
from html import escape

LONG = 40
"""Characters from which on a cell of a table is broken into lines."""


class Markup(str):
    """Text that is markup already; every other text is escaped where it enters an element."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """'<name attribute="…">children</name>'; `class_` is class, `stroke_width` stroke-width, `None` leaves out."""
    return Markup(f"<{name}{_attributes(attributes)}>{join(children)}</{name}>")


def void(name: str, /, **attributes: str | float | None) -> Markup:
    """An element without children: '<path d="…"/>'."""
    return Markup(f"<{name}{_attributes(attributes)}/>")


def join(parts: Iterable[str]) -> Markup:
    """The parts one behind the other, plain text escaped."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part, quote=False) for part in parts))


def _attributes(attributes: dict[str, str | float | None]) -> str:
    named = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items() if value is not None}
    return "".join(f' {_case(name)}="{escape(_text(value))}"' for name, value in named.items())


def _case(name: str) -> str:
    return {"viewbox": "viewBox"}.get(name, name)


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else number(value)


def number(value: float) -> str:
    """A coordinate: one decimal at most, no trailing zero."""
    return f"{value:.1f}".removesuffix(".0")


def details(summary: str, *children: str, is_open: bool = False, **attributes: str | None) -> Markup:
    """A part that is folded until it is asked for, with the mouse or the keyboard."""
    opened = {"open": ""} if is_open else {}
    return tag("details", tag("summary", summary), *children, **opened, **attributes)


def table(titles: Iterable[str], rows: Iterable[Iterable[str]], *, label: str, numbers: int = 10**6) -> Markup:
    """A table that scrolls by itself where it is too wide; the first column heads its row.

    Columns from `numbers` on are right-aligned.
    """
    head = tag("tr", *(tag("th", title, scope="col", class_=_side(i, numbers)) for i, title in enumerate(titles)))
    body = [tag("tr", *(_cell(text, index, numbers) for index, text in enumerate(row))) for row in rows]
    whole = tag("table", tag("thead", head), tag("tbody", *body))
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=label)


def _cell(text: str, index: int, numbers: int) -> Markup:
    if index == 0:
        return tag("th", text, scope="row")
    return tag("td", text, class_="long" if _is_long(text) else _side(index, numbers))


def _is_long(text: str) -> bool:
    """Whether it wants several lines."""
    return not isinstance(text, Markup) and len(text) > LONG


def _side(index: int, numbers: int) -> str | None:
    return "n" if index >= numbers else None
