"""Owns the words for how many times faster one strategy is than another, and their table."""

from collections.abc import Sequence

from perfsuite.core.metrics import Metric
from perfsuite.core.ratio import COMPARED_SESSIONS, Ratio, ratio_of
from perfsuite.core.recording import Recording
from perfsuite.report.layout import Column, Line, table
from perfsuite.report.rows import Row

UNKNOWN = "-"


def ratio_text(ratio: Ratio | None) -> str:
    """'1.31x (1.20..1.43)'; without the interval where there is none."""
    if ratio is None:
        return UNKNOWN
    interval = ratio.interval
    return f"{ratio.times:.2f}x" + (f" ({interval.low:.2f}..{interval.high:.2f})" if interval else "")


def ratio_line(what: str, metric: Metric, other: str, ratio: Ratio, at_least: float) -> str:
    """'jit/tiny/p10-o4: TTFT P50 is 1.31x as fast as eager (95 % CI 1.20..1.43, 4 and 4 sessions), asked for 1.3x'."""
    interval = ratio.interval
    known = f"95 % CI {interval.low:.2f}..{interval.high:.2f}, " if interval else "no interval, "
    text = f"{what}: {metric.label} is {ratio.times:.2f}x as fast as {other}"
    course = " in turns" if ratio.is_paired else ""
    return f"{text} ({known}{ratio.sessions} and {ratio.others} sessions{course}), asked for {at_least:g}x"


def remedy(ratio: Ratio) -> str:
    """What would decide a comparison that is open."""
    have = min(ratio.sessions, ratio.others)
    return f"to decide: more sessions, --perf-sessions {max(COMPARED_SESSIONS, 2 * have)}"


def ratio_table(
    strategies: Sequence[Sequence[Row]], lengths: Sequence[int], metrics: Sequence[Metric]
) -> tuple[Line, ...]:
    """Every strategy against the first: a column per prompt length and metric."""
    first = strategies[0]
    columns = [
        Column(
            group=f"prompt {length}",
            title=metric.label,
            cells=tuple(ratio_text(_ratio(metric, length, own, first)) for own in strategies[1:]),
        )
        for length in lengths
        for metric in metrics
    ]
    names = tuple(own[0].cell.strategy_slug for own in strategies[1:])
    title = f"times as fast as {first[0].cell.strategy_slug}, 95 % interval over sessions where there are two of each"
    lines = table((Column(group="", title="strategy", left=True, cells=names), *columns))
    return (Line(title), *lines, *map(Line, course_lines(strategies)))


def course_lines(strategies: Sequence[Sequence[Row]]) -> tuple[str, ...]:
    """Which strategies were measured in turns with the first, and which by themselves: it matters to a ratio."""
    first, *others = strategies
    shared = [own for own in others if _took_turns(first, own)]
    alone = [own for own in others if not _took_turns(first, own)]
    base = first[0].cell.strategy_slug
    texts = (("in turns with {}, block by block", shared), ("one after the other with {}", alone))
    return tuple(
        f"measured {how.format(base)}: {', '.join(own[0].cell.strategy_slug for own in members)}"
        for how, members in texts
        if members
    )


def _took_turns(first: Sequence[Row], own: Sequence[Row]) -> bool:
    strategy = first[0].cell.strategy
    return all(strategy in recording.beside for row in own for recording in row.recordings)


def _ratio(metric: Metric, length: int, own: Sequence[Row], first: Sequence[Row]) -> Ratio | None:
    return ratio_of(metric, _at(length, own), _at(length, first))


def _at(length: int, rows: Sequence[Row]) -> Sequence[Recording]:
    return next((row.recordings for row in rows if row.prompt_tokens == length), ())
