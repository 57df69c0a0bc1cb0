"""Owns the table of output throughput and goodput."""

from collections.abc import Sequence

from perfsuite.core.throughput import Objective, goodput_of, throughput_of
from perfsuite.core.verdict import Interval
from perfsuite.report.columns import UNKNOWN
from perfsuite.report.layout import Column, Line, table
from perfsuite.report.rows import RecordingsByCell, Row, rows_of

LEGEND = "throughput: output tokens of all rows while full requests ran; ± is half of its 95 % interval over sessions"


def throughput(recordings: RecordingsByCell, objectives: Sequence[Objective] = ()) -> tuple[Line, ...]:
    """A row per cell that answered a full request, with what was asked for below; empty if none did."""
    rows = [row for row in rows_of(recordings) if throughput_of(row.recordings)]
    if not rows:
        return ()
    names = Column(group="", title="output", left=True, cells=tuple(row.cell.id for row in rows))
    legend = (LEGEND, *([goodput_legend(objectives)] if objectives else []))
    columns = (names, *throughput_columns(rows), *goodput_columns(rows, objectives))
    return (*table(columns), *map(Line, legend), Line(""))


def throughput_columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """Tokens a second and half of the interval; none at all if no row has a full request."""
    found = [throughput_of(row.recordings) for row in rows]
    if not any(found):
        return ()
    decimals = 1 if min(each.tokens_per_second for each in found if each) < 1000 else 0
    rates = tuple(f"{each.tokens_per_second:.{decimals}f}" if each else UNKNOWN for each in found)
    halves = tuple(_half(each.interval if each else None, decimals) for each in found)
    return (_column("throughput", "tokens/s", rates), _column("throughput", "±", halves))


def goodput_columns(rows: Sequence[Row], objectives: Sequence[Objective]) -> tuple[Column, ...]:
    """The share of good requests, its interval, of how many, and good requests a second; none without objectives."""
    found = [goodput_of(row.recordings, objectives) for row in rows]
    if not any(found):
        return ()
    texts = [
        (
            f"{100 * g.share:.1f} %",
            f"{100 * g.interval.low:.1f}..{100 * g.interval.high:.1f}",
            f"{g.good}/{g.requests}",
            f"{g.per_second:.3g}",
        )
        if g
        else (UNKNOWN,) * 4
        for g in found
    ]
    titles = ("good", "95 % CI", "n", "req/s")
    return tuple(
        _column("goodput", title, cells) for title, cells in zip(titles, zip(*texts, strict=True), strict=True)
    )


def goodput_legend(objectives: Sequence[Objective]) -> str:
    """'goodput counts full requests with TTFT at most 50 ms and TPOT at most 10 ms; its interval is Wilson's'."""
    wanted = " and ".join(objective.text for objective in objectives)
    return f"goodput counts full requests with {wanted}; its interval is Wilson's"


def _column(group: str, title: str, cells: Sequence[str]) -> Column:
    return Column(group=group, title=title, cells=tuple(cells))


def _half(interval: Interval | None, decimals: int) -> str:
    return f"{(interval.high - interval.low) / 2:.{decimals}f}" if interval else UNKNOWN
