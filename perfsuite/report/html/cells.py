"""Owns what the page shows of each cell: plots, verdicts, numbers, what proves it engaged, and its commands."""

from collections.abc import Sequence

from perfsuite.core.baseline import Baseline
from perfsuite.core.circumstances import changes
from perfsuite.core.disturbance import findings
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import SERIES
from perfsuite.core.recording import Recording
from perfsuite.core.summary import Summary
from perfsuite.core.units import format_bytes, format_ms, format_seconds, format_share
from perfsuite.core.validity import problems
from perfsuite.report.achieved import achieved, roofline_of
from perfsuite.report.headings import counted, sampling_phrase
from perfsuite.report.html.detail import Detail, detail_for
from perfsuite.report.html.ecdf import ecdf
from perfsuite.report.html.markup import Markup, details, join, table, tag
from perfsuite.report.html.trace import trace
from perfsuite.report.html.verdict_cards import PASSED_TITLES, badge, verdict_row
from perfsuite.report.passages import quoted
from perfsuite.report.rows import Row
from perfsuite.report.run import Run
from perfsuite.report.tables import evidence_texts

SERIES_TITLES = ("series", "n", "P50", "± 95 %", "P95", "P99", "mean", "min", "max", "floor", "of limit")
MANY = 100
"""Cells of a page from which on those that are folded are laid out only when they come into view."""
OPEN = 2
"""Cells that are unfolded when the page opens: the worst ones that failed."""


def anchors_of(run: Run) -> dict[Cell, str]:
    """A name for each cell within the page."""
    return {cell: f"cell-{number}" for number, cell in enumerate(run.cells, 1)}


def cell_section(run: Run, rows: Sequence[Row], anchors: dict[Cell, str]) -> Markup:
    """Every cell that was measured, worst first, folded."""
    ranked = sorted(rows, key=lambda row: run.rank(row.cell))
    detail = detail_for(len(ranked))
    cells = [_cell(run, row, anchors[row.cell], detail, is_open=_opens(run, row, i)) for i, row in enumerate(ranked)]
    return tag("div", *cells, class_="many" if len(cells) > MANY else None) if cells else Markup()


def _opens(run: Run, row: Row, index: int) -> bool:
    outcome = run.outcome(row.cell)
    return index < OPEN and outcome is not None and outcome.fails


def _cell(run: Run, row: Row, anchor: str, detail: Detail, *, is_open: bool) -> Markup:
    summary = join(
        (badge(run.outcome(row.cell)), " ", tag("b", row.cell.id), " ", tag("span", _short(row), class_="quiet"))
    )
    baseline = run.baselines.get(row.cell)
    return details(
        summary,
        tag("p", sampling_phrase(row.cell.workload.sampling), class_="quiet", id=anchor),
        _troubles(row.recordings),
        tag("div", *_plots(row.recordings, baseline, detail), class_="plots"),
        _verdicts(run, row.cell),
        _numbers(row),
        _facts(row, baseline),
        _commands(run, row.cell),
        is_open=is_open,
        class_="cell",
    )


def _short(row: Row) -> str:
    medians = {name: row.summaries[name].p50.value for name in ("ttft", "tpot") if name in row.summaries}
    return " · ".join(f"{SERIES[name].label} {format_ms(value)} ms" for name, value in medians.items() if value)


def _troubles(recordings: Sequence[Recording]) -> Markup | str:
    """Why the numbers may not be believed, and what disturbed the machine."""
    texts = [f"session {r.session + 1}: not to be believed: {text}" for r in recordings for text in problems(r)]
    for recording in recordings:
        if recording.monitoring is not None:
            taken = (*recording.samples, *recording.set_aside)
            found = findings(taken, recording.monitoring)
            texts += [f"session {recording.session + 1}: {e.detail} during {e.samples} samples" for e in found]
    return tag("ul", *(tag("li", text) for text in dict.fromkeys(texts)), class_="troubles") if texts else ""


def _plots(recordings: Sequence[Recording], baseline: Baseline | None, detail: Detail) -> list[str]:
    stored = baseline.recordings if baseline else ()
    series = [SERIES[name] for name in ("ttft", "tpot")]
    return [
        *(ecdf(each, stored, recordings, detail) for each in series),
        *(trace(each, recordings, baseline, detail) for each in series[: detail.traces]),
    ]


def _verdicts(run: Run, cell: Cell) -> Markup | str:
    rows = [verdict_row(cell, verdict)[1:] for verdict in run.verdicts(cell)]
    return table(PASSED_TITLES[1:], rows, label=f"verdicts on {cell.id}", numbers=1) if rows else ""


def _numbers(row: Row) -> Markup:
    roofline = roofline_of(row.recordings)
    floors = roofline.series(row.cell.workload) if roofline else {}
    shares = achieved(row.recordings, row.summaries)
    rows = [
        (*_statistics(name, summary), _ms(floors.get(name)), format_share(shares[name]) if name in shares else "-")
        for name, summary in row.summaries.items()
        if name != "icl" or "itl" not in row.summaries  # where every event is a token, they are the same
    ]
    return table(SERIES_TITLES, rows, label=f"latencies of {row.cell.id}, milliseconds", numbers=1)


def _statistics(name: str, summary: Summary) -> tuple[str, ...]:
    p50, p95, p99 = (_ms(quantile.value) for quantile in (summary.p50, summary.p95, summary.p99))
    rest = (_ms(value) for value in (summary.mean, summary.minimum, summary.maximum))
    return (f"{SERIES[name].label}, ms", str(summary.count), p50, _ms(summary.p50.half_width), p95, p99, *rest)


def _ms(nanoseconds: float | None) -> str:
    return "-" if nanoseconds is None else format_ms(nanoseconds)


def _facts(row: Row, baseline: Baseline | None) -> Markup:
    recordings = row.recordings
    passage = next((r.sampling.passage for r in recordings if r.sampling and r.sampling.passage), None)
    facts = {
        "startup": ", ".join(f"{phase.name} {format_seconds(phase.duration_ns)}" for phase in recordings[0].startup),
        "memory": "" if row.memory is None else format_bytes(row.memory),
        "evidence": ", ".join(dict.fromkeys(text for r in recordings for text in evidence_texts(r.evidence))),
        "text": f"{quoted(passage.text)} after {quoted(passage.before)}" if passage else "",
        "sessions": ", ".join(f"{recording.session + 1}: {recording.started_at}" for recording in recordings),
        "baseline": _told(baseline) if baseline else "none",
        "changed since": ", ".join(changes(baseline.recordings, recordings)) if baseline else "",
    }
    pairs = [part for name, text in facts.items() if text for part in (tag("dt", name), tag("dd", text))]
    return tag("dl", *pairs)


def _told(baseline: Baseline) -> str:
    modes = {key: mode.label for key, mode in baseline.modes.items() if mode.canary is not None}
    divided = "".join(f"; {key} divided by {label}" for key, label in modes.items())
    return (
        f"{counted(len(baseline.recordings), 'session')} of {baseline.saved_at}, commit {baseline.commit[:12]}{divided}"
    )


def _commands(run: Run, cell: Cell) -> Markup | str:
    named = {"measure it again": run.reproduce(cell), "take it as the baseline": run.save(cell)}
    lines = [f"# {name}\n{command}" for name, command in named.items() if command]
    return tag("pre", tag("code", "\n".join(lines)), tabindex="0") if lines else ""
