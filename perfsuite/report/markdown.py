"""Owns the Markdown report, for the summary of a CI job: changed cells first, every cell in a table that is folded."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from perfsuite.core.circumstances import circumstances
from perfsuite.core.matrix import Cell
from perfsuite.core.units import format_bytes, format_change, format_ms, format_percent, format_seconds, format_share
from perfsuite.core.verdict import Outcome, Verdict
from perfsuite.disk import ESCAPED
from perfsuite.report.achieved import achieved
from perfsuite.report.circumstances import circumstance_lines
from perfsuite.report.headings import counted
from perfsuite.report.marks import MARKS
from perfsuite.report.rows import Row, rows_of
from perfsuite.report.run import SEVERITY, Run, excess
from perfsuite.report.shards import shard_line
from perfsuite.report.verdict_words import interval_text, label, level, sizes, why

MOST_BYTES = 1_000_000
"""GitHub drops a step's summary above 1 MiB."""
ROOM = 500
"""Bytes kept for the head of the folded table and for what is said of a cut."""
MOST_GATES, MOST_COMMANDS = 200, 20
CHANGED = (Outcome.REGRESSED, Outcome.INVALID, Outcome.IMPROVED)
GATE_TITLES = ("", "cell", "metric", "baseline", "now", "change", "95 % interval", "tolerance", "n", "why")
CELL_TITLES = (
    "",
    "cell",
    "TTFT P50, ms",
    "TTFT P99, ms",
    "TPOT P50, ms",
    "E2E P50, ms",
    "startup",
    "memory",
    "of limit",
)
ALIGNED = (":-:", "---", *["--:"] * 7)


def markdown(run: Run, most_bytes: int = MOST_BYTES) -> str:
    """The whole text, cut at a row where it would grow longer than allowed; what was cut is said."""
    head = [*_heading(run), *_gates(run), *_circumstances(run), *_commands(run)]
    tail = ["", "</details>", "", *(f"- {_escaped(note)}" for note in run.notes), ""]
    rows = list(_cells(run))
    room = most_bytes - len("\n".join([*head, *tail]).encode(errors=ESCAPED)) - ROOM
    kept = _fitting(rows, room)
    left = [] if len(kept) == len(rows) else ["", f"… and {len(rows) - len(kept)} more cells; --perf-json has all."]
    title = f"<details><summary>All {counted(len(rows), 'cell')}</summary>"
    table = _table(CELL_TITLES, ALIGNED, kept)
    return "\n".join([*head, "", title, "", *table, *left, *tail])


def _fitting(rows: Sequence[Sequence[str]], room: int) -> list[Sequence[str]]:
    kept: list[Sequence[str]] = []
    for row in rows:
        room -= len(_row(row).encode(errors=ESCAPED)) + 1
        if room < 0:
            break
        kept.append(row)
    return kept


def _heading(run: Run) -> Iterator[str]:
    counts = Counter(verdict.outcome for judged in run.judgements for verdict in judged.all)
    told = ", ".join(f"{MARKS[outcome]} {counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome])
    yield f"## perfsuite: {told or counted(len(run.cells), 'cell') + ' measured, nothing judged'}"
    yield ""
    devices = dict.fromkeys(environment.device for environment in run.environments)
    yield f"{_escaped(' and '.join(devices))} · {counted(len(run.cells), 'cell')}"
    if run.portion:
        yield from ("", _escaped(shard_line(run.portion, is_judged=bool(run.judgements))))
    if run.command:
        yield from ("", f"`{run.command}`")


def _gates(run: Run) -> Iterator[str]:
    """The verdicts that are not simply passed: changed ones, then the undecided ones."""
    found = [(judged.cell, verdict) for judged in run.judgements for verdict in judged.all]
    changed = sorted((each for each in found if each[1].outcome in CHANGED), key=_rank)
    undecided = sorted((each for each in found if not each[1].outcome.is_decided and each not in changed), key=_rank)
    if changed:
        yield from ("", "### Changed", "", *_gate_table(changed))
    if undecided:
        title = f"<details><summary>{counted(len(undecided), 'gate')} not decided</summary>"
        yield from ("", title, "", *_gate_table(undecided), "", "</details>")


def _gate_table(found: Sequence[tuple[Cell, Verdict]]) -> Iterator[str]:
    aligned = (":-:", "---", "---", *["--:"] * 6, "---")
    yield from _table(GATE_TITLES, aligned, [_gate(*each) for each in found[:MOST_GATES]])
    if len(found) > MOST_GATES:
        yield from ("", f"… and {len(found) - MOST_GATES} more gates; --perf-json has all.")


def _rank(each: tuple[Cell, Verdict]) -> tuple[int, float]:
    return SEVERITY[each[1].outcome], -excess(each[1])


def _gate(cell: Cell, verdict: Verdict) -> tuple[str, ...]:
    levels = (None, None) if verdict.change is None else (verdict.baseline, verdict.candidate)
    return (
        MARKS[verdict.outcome],
        f"`{cell.id}`",
        label(verdict.metric),
        *("" if value is None else level(verdict.metric, value) for value in levels),
        "" if verdict.change is None else f"**{format_change(verdict.change)}**",
        interval_text(verdict.interval).partition(" CI ")[2],
        format_percent(verdict.tolerance),
        sizes(verdict).removeprefix("n="),
        f"{verdict.outcome.value}: {why(verdict)}".removesuffix(": "),
    )


def _circumstances(run: Run) -> Iterator[str]:
    lines = circumstance_lines(circumstances(run.judgements, run.baselines, run.recordings))
    yield from ("", *(f"- {_escaped(line.text)}" for line in lines[:MOST_GATES])) if lines else ()


def _commands(run: Run) -> Iterator[str]:
    failing = [cell for cell in run.cells if (outcome := run.outcome(cell)) and outcome.fails]
    commands = [command for cell in failing[:MOST_COMMANDS] if (command := run.reproduce(cell))]
    if commands:
        yield from ("", "Measure them again:", "", "```", *commands, "```")


def _cells(run: Run) -> Iterator[tuple[str, ...]]:
    """A row per cell, those first of which something changed."""
    for row in sorted(rows_of(run.recordings), key=lambda row: run.rank(row.cell)):
        yield _cell(row, run.outcome(row.cell))


def _cell(row: Row, outcome: Outcome | None) -> tuple[str, ...]:
    quantiles = [
        getattr(row.summaries[series], name).value if series in row.summaries else None
        for series, name in (("ttft", "p50"), ("ttft", "p99"), ("tpot", "p50"), ("e2e", "p50"))
    ]
    shares = achieved(row.recordings, row.summaries)
    return (
        MARKS[outcome] if outcome else "",
        f"`{row.cell.id}`",
        *("" if value is None else format_ms(value) for value in quantiles),
        "" if row.startup_ns is None else format_seconds(row.startup_ns),
        "" if row.memory is None else format_bytes(row.memory),
        " / ".join(format_share(shares[series]) for series in ("ttft", "tpot") if series in shares),
    )


def _table(titles: Sequence[str], aligned: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _row(titles)
    yield _row(aligned)
    yield from map(_row, rows)


def _row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(map(_escaped, texts))} |"


def _escaped(text: str) -> str:
    """Text that stays in its cell and starts no tag."""
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;")
