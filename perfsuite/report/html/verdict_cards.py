"""Owns how verdicts are shown: a card each with its change on a scale, worst first, what passed folded."""

from collections.abc import Sequence

from perfsuite.core.matrix import Cell
from perfsuite.core.units import format_change, format_percent
from perfsuite.core.verdict import Outcome, Verdict
from perfsuite.report.headings import counted
from perfsuite.report.html.markup import Markup, details, join, number, table, tag, void
from perfsuite.report.marks import MARKS
from perfsuite.report.run import SEVERITY, Run, excess
from perfsuite.report.verdict_words import interval_text, label, level, sizes, why
from perfsuite.report.verdicts import Finding, findings_of

Found = tuple[Cell, Verdict]
MOST_CARDS = 60
"""Cards of a page; further verdicts stand in a table."""
PASSED_TITLES = ("cell", "metric", "baseline", "now", "change", "95 % interval", "tolerance", "n", "outcome")
WIDE, HIGH = 200, 30


def verdict_section(run: Run, anchors: dict[Cell, str]) -> Markup:
    """Everything that was judged; what is said of several metrics of a cell alike is one card."""
    found = [finding for judged in run.judgements for finding in findings_of(judged)]
    if not found:
        return tag("p", "Nothing was judged in this run.")
    found.sort(key=lambda each: (SEVERITY[each.first.outcome], -excess(each.first)))
    loud = [each for each in found if each.first.outcome is not Outcome.PASSED]
    cards = tag("ol", *(_card(run, each, anchors) for each in loud[:MOST_CARDS]), class_="cards") if loud else ""
    rest = [(each.cell, verdict) for each in loud[MOST_CARDS:] for verdict in each.verdicts]
    folded = details(counted(len(rest), "further verdict"), _table(rest)) if rest else ""
    passed = sum(len(each.verdicts) for each in found if each.first.outcome is Outcome.PASSED)
    told = tag("p", f"{counted(passed, 'gate')} passed: their numbers are with their cells, below.") if passed else ""
    return join((cards, folded, told))


def css_of(outcome: Outcome) -> str:
    """'regressed', 'no-baseline': a class that colours a mark."""
    return outcome.value.replace(" ", "-")


def badge(outcome: Outcome | None) -> Markup | str:
    """The outcome's shape and its word."""
    return tag("span", f"{MARKS[outcome]} {outcome.value}", class_=f"badge {css_of(outcome)}") if outcome else ""


def _card(run: Run, finding: Finding, anchors: dict[Cell, str]) -> Markup:
    cell, verdict = finding.cell, finding.first
    labels = ", ".join(label(each.metric) for each in finding.verdicts)
    where = tag("a", cell.id, href=f"#{anchors[cell]}") if cell in anchors else tag("span", cell.id)
    head = tag("p", badge(verdict.outcome), " ", tag("b", labels), " ", where)
    command = run.reproduce(cell) if verdict.outcome is not Outcome.IMPROVED else ""
    again = details("measure it again", tag("pre", tag("code", command), tabindex="0")) if command else ""
    return tag("li", head, _numbers(verdict), tag("p", why(verdict), class_="quiet"), again, class_="card")


def _numbers(verdict: Verdict) -> Markup | str:
    if verdict.change is None or verdict.baseline is None or verdict.candidate is None:
        return ""
    levels = f"{level(verdict.metric, verdict.baseline)} → {level(verdict.metric, verdict.candidate)}"
    details_of = ", ".join(filter(None, (interval_text(verdict.interval), sizes(verdict))))
    return tag(
        "div",
        tag("span", format_change(verdict.change), class_=f"change {css_of(verdict.outcome)}"),
        tag("span", levels),
        change_scale(verdict),
        tag("span", details_of, class_="quiet"),
        class_="numbers",
    )


def change_scale(verdict: Verdict) -> Markup | str:
    """The change with its interval on a scale around 0, the tolerance as a line; empty without an interval."""
    if verdict.change is None or verdict.interval is None:
        return ""
    ends = (verdict.interval.low, verdict.interval.high, verdict.tolerance * 1.4, -verdict.tolerance * 0.6)
    low, high = min(ends), max(ends)

    def place(change: float) -> float:
        return 6 + (WIDE - 12) * (change - low) / (high - low)

    zero, limit = place(0.0), place(verdict.tolerance)
    left, right = number(place(verdict.interval.low)), number(place(verdict.interval.high))
    allowed = format_percent(verdict.tolerance)
    return tag(
        "svg",
        void("path", class_="axis", d=f"M{number(zero)} 2V20"),
        void("path", class_="limit", d=f"M{number(limit)} 2V20"),
        void("path", class_=f"{css_of(verdict.outcome)} bar", d=f"M{left} 11H{right}M{left} 7v8M{right} 7v8"),
        tag("circle", class_=f"{css_of(verdict.outcome)} point", cx=place(verdict.change), cy=11, r=4),
        *_scale_texts(zero, limit, f"{allowed} allowed"),
        viewbox=f"0 0 {WIDE} {HIGH}",
        class_="forest",
        role="img",
        aria_label=f"change {format_change(verdict.change)}, {interval_text(verdict.interval)}, tolerance {allowed}",
    )


def _scale_texts(zero: float, limit: float, allowed: str) -> list[Markup]:
    """The texts below the scale, side by side wherever the two lines are."""
    if limit < WIDE * 0.6:
        return [tag("text", "0", x=zero + 3, y=29, class_="te"), tag("text", allowed, x=limit - 3, y=29)]
    behind = tag("text", allowed, x=min(limit + 12, WIDE), y=29, class_="te")
    return [behind, *([tag("text", "0", x=zero + 3, y=29, class_="te")] if limit - zero > WIDE * 0.3 else [])]


def _table(found: Sequence[Found]) -> Markup:
    return table(PASSED_TITLES, [verdict_row(*each) for each in found], label="further verdicts", numbers=2)


def verdict_row(cell: Cell, verdict: Verdict) -> tuple[str, ...]:
    """The verdict in a line of a table."""
    levels = [value if verdict.change is not None else None for value in (verdict.baseline, verdict.candidate)]
    return (
        cell.id,
        label(verdict.metric),
        *("-" if value is None else level(verdict.metric, value) for value in levels),
        "-" if verdict.change is None else format_change(verdict.change),
        interval_text(verdict.interval).partition(" CI ")[2] or "-",
        format_percent(verdict.tolerance),
        sizes(verdict).removeprefix("n=") or "-",
        badge(verdict.outcome),
    )
