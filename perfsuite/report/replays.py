"""Owns the words for replays: what became of every metric under every injection, and how often a gate was red."""

from collections.abc import Iterator, Sequence

from perfsuite.core.injection import INJECTIONS
from perfsuite.core.metrics import Metric
from perfsuite.core.replay import LEAST_SESSIONS
from perfsuite.core.selftest import SelfTest, Tally, added_up
from perfsuite.core.units import to_s
from perfsuite.report.headings import counted
from perfsuite.report.layout import Column, Line, table

LEGEND = ("of all cells' replays; passed although the metric moved by its tolerance or more counts as missed",)
MORE_SESSIONS = "add some with: pytest --save-baseline --perf-baseline-append"


def replays(found: SelfTest) -> Iterator[Line]:
    """The table of replays, the share of false alarms, and the cells that could not be replayed."""
    played = found.replays
    if played.too_few:
        yield _too_few_line(found)
    if not played.count:
        return
    yield from table(_columns(_by_metric(found), found.session_ns()))
    yield from (Line(text) for text in LEGEND)
    bound = f"at most {percent_text(played.red_bound or 0.0)} % with 95 % confidence"
    told = f"same code: {played.red} of {counted(played.count, 'replay')} of the suite had a red gate, {bound}"
    where = ", ".join(f"{key} {count}" for key, count in played.red_by_metric.items())
    yield Line(told + (f" ({where})" if where else ""), "red" if played.red else "green")
    yield Line(
        f"(a replay takes {played.baseline_sessions} stored sessions for the baseline, up to "
        f"{played.candidate_sessions} others for the candidate; replays share sessions, which makes this bound "
        "optimistic; a run has more sessions on both sides and leaves less open)"
    )


def _too_few_line(found: SelfTest) -> Line:
    short = [f"{cell.id} has {count}" for cell, count in found.replays.too_few.items()]
    rest = f" and {len(short) - 3} more" if len(short) > 3 else ""
    told = f"not replayed, {LEAST_SESSIONS} sessions are needed: {', '.join(short[:3])}{rest}; {MORE_SESSIONS}"
    return Line(told, "yellow")


def _by_metric(found: SelfTest) -> list[Tally]:
    """A tally per metric and injection, metrics and injections in order."""
    groups: dict[tuple[Metric, str], list[Tally]] = {}
    for tallies in found.replays.tallies.values():
        for tally in tallies:
            groups.setdefault((tally.metric, tally.injection), []).append(tally)
    names = [injection.name for injection in INJECTIONS]
    return [added_up(groups[key]) for key in sorted(groups, key=lambda key: (key[0].rank, names.index(key[1])))]


def _columns(rows: Sequence[Tally], session_ns: float | None) -> tuple[Column, ...]:
    shares = {
        name: tuple(percent_text(getattr(row, field) / row.count) for row in rows)
        for name, field in (("red", "caught"), ("open", "undecided"), ("passed", "allowed"), ("missed", "missed"))
    }
    times = [_time(row, session_ns) for row in rows]
    return (
        Column(group="", title="metric", left=True, cells=tuple(row.metric.label for row in rows)),
        Column(group="", title="injected", left=True, cells=tuple(row.injection for row in rows)),
        Column(group="", title="moves it", cells=tuple(f"{100 * row.effect:+.1f} %" for row in rows)),
        *(Column(group="of the replays, %", title=name, cells=cells) for name, cells in shares.items()),
        Column(group="to a verdict", title="sessions", cells=tuple(_mean(row) for row in rows)),
        *([Column(group="to a verdict", title="s", cells=tuple(times))] if session_ns is not None else []),
    )


def _mean(row: Tally) -> str:
    return "-" if row.mean_sessions is None else f"{row.mean_sessions:.1f}"


def _time(row: Tally, session_ns: float | None) -> str:
    return "-" if row.mean_sessions is None or session_ns is None else f"{to_s(row.mean_sessions * session_ns):.1f}"


def percent_text(share: float) -> str:
    """'0', '2.3', '100'; what is little but not nothing is '<0.1', what is not all is never '100'."""
    percent = 100 * share
    if percent in (0, 100):
        return f"{percent:.0f}"
    return "<0.1" if percent < 0.1 else ">99.9" if percent > 99.9 else f"{percent:.1f}"
