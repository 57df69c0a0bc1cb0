"""Owns the page as a whole: its head, its parts in order, and its style; it asks for nothing over the network."""

from collections import Counter
from collections.abc import Iterator
from importlib.resources import files

from perfsuite import __version__
from perfsuite.core.verdict import Outcome
from perfsuite.report.headings import counted, model_phrase, request_phrase, slowdown_lines
from perfsuite.report.html.cells import anchors_of, cell_section
from perfsuite.report.html.environments import environment_section
from perfsuite.report.html.lengths import length_plots
from perfsuite.report.html.markup import Markup, details, join, tag, void
from perfsuite.report.html.tradeoffs import comparison
from perfsuite.report.html.verdict_cards import badge, verdict_section
from perfsuite.report.layout import Line
from perfsuite.report.passages import passages
from perfsuite.report.rows import Row, grouped, rows_of, shape
from perfsuite.report.run import Run
from perfsuite.report.shards import shard_line
from perfsuite.report.tables import row_tables

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Said to the browser, so that it holds even if a name smuggled something in."""


def page(run: Run) -> str:
    """The whole document."""
    anchors = anchors_of(run)
    rows = rows_of(run.recordings)
    parts = {
        "verdicts": ("Verdicts", verdict_section(run, anchors)),
        "strategies": ("Strategies", _by_group(rows, with_comparison=True)),
        "lengths": ("Latency over prompt length", _by_group(rows, with_comparison=False)),
        "cells": ("Cells", cell_section(run, rows, anchors)),
        "environment": ("Environment", environment_section(run)),
        "text": ("Generated text", _passages(run)),
        "tables": ("Tables", _tables(rows)),
    }
    shown = {name: part for name, part in parts.items() if part[1]}
    body = (
        tag("a", "Skip to the verdicts", href="#verdicts", class_="skip"),
        tag("header", *_header(run, rows), _navigation(shown)),
        tag("main", *(tag("section", tag("h2", title), part, id=name) for name, (title, part) in shown.items())),
        tag("footer", tag("p", f"perfsuite {__version__}: numbers in milliseconds unless they say otherwise")),
    )
    head = (
        void("meta", charset="utf-8"),
        void("meta", http_equiv="Content-Security-Policy", content=POLICY),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        void("meta", name="color-scheme", content="light dark"),
        tag("title", f"perfsuite: {_counts_text(run)}"),
        tag("style", Markup(files(__package__).joinpath("style.css").read_text(encoding="utf-8"))),
    )
    document = tag("html", tag("head", *head), tag("body", *body), lang="en")
    return f"<!doctype html>\n{document}\n"


def _header(run: Run, rows: list[Row]) -> Iterator[Markup]:
    counts = _counts(run)
    yield tag("p", "perfsuite", class_="brand")
    yield tag("h1", _headline(run))
    if counts:
        badges = [tag("li", badge(outcome), f" {counts[outcome]}") for outcome in Outcome if counts[outcome]]
        yield tag("ul", *badges, class_="counts")
    yield tag("p", _where(run), class_="quiet")
    if run.portion:
        yield tag("p", shard_line(run.portion, is_judged=bool(run.judgements)))
    yield from (tag("p", line.text, class_="loud") for line in slowdown_lines(rows))
    if run.command:
        yield tag("pre", tag("code", run.command), tabindex="0")
    notes = [tag("li", note) for note in (*run.notes, *(f"not measured: {n}" for n in set(run.unavailable.values())))]
    if notes:
        yield details(counted(len(notes), "note"), tag("ul", *notes), is_open=len(notes) < 4)


def _counts(run: Run) -> Counter[Outcome]:
    return Counter(verdict.outcome for judged in run.judgements for verdict in judged.all)


def _counts_text(run: Run) -> str:
    counts = _counts(run)
    told = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome])
    return told or f"{counted(len(run.cells), 'cell')} measured"


def _headline(run: Run) -> str:
    """The one thing that a reader wants to know first."""
    counts = _counts(run)
    worst = next((outcome for outcome in Outcome if counts[outcome]), None)
    if worst is None:
        return f"{counted(len(run.cells), 'cell')} measured, nothing judged"
    if worst in (Outcome.PASSED, Outcome.IMPROVED):
        return f"Nothing got slower: {counted(sum(counts.values()), 'gate')}"
    return f"{counts[worst]} of {counted(sum(counts.values()), 'gate')} {worst.value}"


def _where(run: Run) -> str:
    devices = " and ".join(dict.fromkeys(environment.device for environment in run.environments))
    started = sorted(recording.started_at for recording in run.all_recordings)
    sessions = max((len(own) for own in run.recordings.values()), default=0)
    parts = (devices, counted(len(run.cells), "cell"), f"up to {counted(sessions, 'session')} each", *started[:1])
    return " · ".join(filter(None, parts))


def _navigation(parts: dict[str, tuple[str, str]]) -> Markup:
    links = [tag("li", tag("a", title, href=f"#{name}")) for name, (title, _) in parts.items()]
    return tag("nav", tag("ul", *links), aria_label="parts of this report")


def _by_group(rows: list[Row], *, with_comparison: bool) -> Markup:
    """A part for each model and kind of workload."""
    strategies = list(dict.fromkeys(row.cell.strategy_slug for row in rows))
    drawn = []
    for own in grouped(rows, lambda row: (row.cell.model, shape(row.cell.workload))):
        part = (
            comparison(own, strategies)
            if with_comparison
            else tag("div", length_plots(own, strategies), class_="plots")
        )
        title = f"{model_phrase(own)}: {request_phrase(own[0].cell.workload)}"
        drawn += [tag("h3", title), part] if part else []
    return join(drawn)


def _passages(run: Run) -> Markup | str:
    lines = list(passages(run.all_recordings))
    return join(tag("pre", line.text.removeprefix("text of "), tabindex="0") for line in lines) if lines else ""


def _tables(rows: list[Row]) -> Markup | str:
    """The terminal's tables as they are."""
    lines = row_tables(rows)
    return details("as on the terminal", tag("pre", *_styled(lines), tabindex="0")) if lines else ""


def _styled(lines: tuple[Line, ...]) -> Iterator[str]:
    for line in lines:
        yield tag("b", line.text) if line.style == "bold" else line.text
        yield "\n"
