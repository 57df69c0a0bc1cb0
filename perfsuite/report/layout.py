"""Owns lines of text and how columns become them; it knows no latency and no terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

STYLES = ("plain", "bold", "red", "green", "yellow")
GAP = "  "


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a report and how it wants to look; whoever prints it knows colour codes.

    What engines say of themselves is in some of them: a line break in it becomes a blank.
    """

    text: str
    style: str = "plain"

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ValueError(f"not a line in one of {', '.join(STYLES)}: {self!r}")
        if len(self.text.splitlines()) > 1:
            object.__setattr__(self, "text", " ".join(line.strip() for line in self.text.splitlines()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of finished texts; neighbours of one `group` share its heading."""

    group: str
    title: str
    cells: tuple[str, ...]
    left: bool = False

    @property
    def width(self) -> int:
        return max(map(len, (self.title, *self.cells)))

    def align(self, text: str, width: int) -> str:
        return text.ljust(width) if self.left else text.rjust(width)


def table(columns: Sequence[Column]) -> tuple[Line, ...]:
    """Two heading lines in bold, then one line per row; every column as wide as its widest text."""
    groups = [tuple(members) for _, members in groupby(columns, key=lambda column: column.group)]
    widths = [width for members in groups for width in _widths(members)]
    heading = GAP.join(_heading(members) for members in groups)
    titles = _row(columns, widths, [column.title for column in columns])
    rows = zip(*(column.cells for column in columns), strict=True)
    return (
        Line(heading.rstrip(), "bold"),
        Line(titles.rstrip(), "bold"),
        *(Line(_row(columns, widths, row).rstrip()) for row in rows),
    )


def _widths(members: tuple[Column, ...]) -> list[int]:
    """The columns' widths, the first one widened if the group's heading needs it."""
    widths = [column.width for column in members]
    short = len(members[0].group) - _span(widths)
    return [widths[0] + max(short, 0), *widths[1:]]


def _span(widths: list[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _heading(members: tuple[Column, ...]) -> str:
    span = _span(_widths(members))
    if len(members) == 1 or not members[0].group:
        return members[0].align(members[0].group, span)
    return f" {members[0].group} ".center(span, "-")


def _row(columns: Sequence[Column], widths: list[int], texts: Sequence[str]) -> str:
    return GAP.join(column.align(text, width) for column, text, width in zip(columns, texts, widths, strict=True))
