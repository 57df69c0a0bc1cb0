"""Owns the latency tables: one per strategy, model and kind of workload, with the notes below it; nothing is judged."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from statistics import median

from perfsuite.core.recording import Evidence, Recording
from perfsuite.core.sample import Phase
from perfsuite.core.statistics import samples_floor
from perfsuite.core.summary import Quantile, Summary
from perfsuite.core.units import format_bytes, format_seconds
from perfsuite.report.achieved import LEGEND as ACHIEVED_LEGEND
from perfsuite.report.achieved import achieved_columns, limits_lines
from perfsuite.report.columns import (
    half_width,
    median_column,
    memory_column,
    milliseconds,
    quantile_text,
    series_column,
    shared_decimals,
    startup_column,
)
from perfsuite.report.headings import (
    counted,
    device_phrase,
    model_phrase,
    ranged,
    recordings_of,
    request_phrase,
    sampling_phrase,
    slowdown_lines,
)
from perfsuite.report.layout import Column, Line, table
from perfsuite.report.machine import machine_columns
from perfsuite.report.rows import RecordingsByCell, Row, grouped, rows_of, shape

LEGEND = "± is half of the 95 % interval of P50 (order statistics); the samples of all sessions of a cell are pooled"
MEDIANS = "P50, ms"
TOGETHER_LEGEND = (
    "times of requests sent together are each one's own; n counts requests, intervals and sample floors calls"
)
DEVICE_LEGEND = "device is TTFT by the device's own clock"


def tables(recordings: RecordingsByCell) -> tuple[Line, ...]:
    """A table per strategy, model and kind of workload, with one row per prompt length; empty for no recordings."""
    return row_tables(rows_of(recordings))


def row_tables(rows: Sequence[Row]) -> tuple[Line, ...]:
    """The same of rows that are there already."""
    groups = grouped(rows, lambda row: (row.cell.strategy, row.cell.model, shape(row.cell.workload)))
    lines = [line for group in groups for line in (*_latency_table(group), Line(""))]
    return (*lines, *_legend(rows)) if lines else ()


def _legend(rows: Sequence[Row]) -> tuple[Line, ...]:
    texts = {
        LEGEND: True,
        DEVICE_LEGEND: any("ttft_device" in row.summaries for row in rows),
        TOGETHER_LEGEND: any(recording.together > 1 for recording in recordings_of(rows)),
        ACHIEVED_LEGEND: bool(limits_lines(rows)),
    }
    return tuple(Line(text) for text, is_shown in texts.items() if is_shown)


def _latency_table(rows: Sequence[Row]) -> tuple[Line, ...]:
    columns = (
        Column(group="prompt", title="tokens", cells=tuple(str(row.prompt_tokens) for row in rows)),
        *_ttft_columns(rows),
        *_known(rows, "ttft_device", "device"),
        median_column(rows, "tpot", MEDIANS, "TPOT"),
        median_column(rows, "e2e", MEDIANS, "E2E"),
        *achieved_columns(rows),
        startup_column([row.startup_ns for row in rows]),
        memory_column([row.memory for row in rows]),
        *machine_columns(rows),
    )
    return (*_title(rows), *slowdown_lines(rows), *table(columns), *_footer(rows))


def _title(rows: Sequence[Row]) -> tuple[Line, ...]:
    cell = rows[0].cell
    sessions = ranged([len(row.recordings) for row in rows], "session")
    where = f"{cell.strategy_slug}, {model_phrase(rows)} on {device_phrase(rows)}"
    return (
        Line(f"{where}: {request_phrase(cell.workload)}, {sessions}", "bold"),
        Line(sampling_phrase(cell.workload.sampling)),
    )


def _ttft_columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    decimals = shared_decimals(rows, "ttft")
    takes: dict[str, Callable[[Summary], str]] = {
        "P50": lambda s: quantile_text(s.p50, decimals),
        "±": lambda s: half_width(s.p50, decimals),
        "P95": lambda s: quantile_text(s.p95, decimals),
        "P99": lambda s: quantile_text(s.p99, decimals),
        "mean": lambda s: milliseconds(s.mean, decimals),
        "std": lambda s: milliseconds(s.std, decimals),
        "min": lambda s: milliseconds(s.minimum, decimals),
        "max": lambda s: milliseconds(s.maximum, decimals),
        "n": lambda s: str(s.count),
    }
    return tuple(series_column(rows, "ttft", "TTFT, ms", title, take) for title, take in takes.items())


def _known(rows: Sequence[Row], series: str, title: str) -> tuple[Column, ...]:
    """The column of a series' P50; none at all if no row has that series."""
    present = any(series in row.summaries for row in rows)
    return (median_column(rows, series, MEDIANS, title),) if present else ()


def _footer(rows: Sequence[Row]) -> tuple[Line, ...]:
    recordings = recordings_of(rows)
    notes = (
        *_startup(recordings),
        *_weights(recordings),
        *_bundles(recordings),
        *limits_lines(rows),
        *_evidence(recordings),
        *_missing(rows, "P95", lambda summary: summary.p95),
        *_missing(rows, "P99", lambda summary: summary.p99),
        *_warmups(recordings),
        *_failures(recordings),
    )
    return tuple(replace(note, text=f"  {note.text}") for note in notes)


def _startup(recordings: Sequence[Recording]) -> tuple[Line, ...]:
    times: dict[str, list[int]] = {}
    for recording in recordings:
        for phase in recording.startup:
            times.setdefault(phase.name, []).append(phase.duration_ns)
    phases = ", ".join(f"{name} {format_seconds(median(found))}" for name, found in times.items())
    return (Line(f"startup, medians: {phases}"),) if phases else ()


def _weights(recordings: Sequence[Recording]) -> tuple[Line, ...]:
    sizes = {recording.memory.weights for recording in recordings} - {None}
    told = " and ".join(format_bytes(size) for size in sorted(filter(None, sizes)))
    cache = max((r.memory.cache for r in recordings if r.memory.cache), default=0)
    rest = f", keys and values of the longest request: {format_bytes(cache)}" if cache else ""
    return (Line(f"weights: {told}{rest}"),) if told else ()


def _bundles(recordings: Sequence[Recording]) -> tuple[Line, ...]:
    """How many tokens came at once, where it was not one each time."""
    samples = [each for recording in recordings for s in recording.of_phase(Phase.DECODE) for each in s.requests]
    tokens, chunks = sum(s.output_tokens for s in samples), sum(len(s.arrivals_ns) for s in samples)
    if tokens == chunks:
        return ()
    return (Line(f"tokens per chunk: {tokens / chunks:.2f} in the mean; gaps between chunks are ICL, not ITL"),)


def _evidence(recordings: Sequence[Recording]) -> tuple[Line, ...]:
    """What the strategy said of itself: counts that prove it engaged, and choices that matter to the numbers."""
    said = dict.fromkeys(text for recording in recordings for text in evidence_texts(recording.evidence))
    return (Line(f"evidence: {', '.join(said)}"),) if said else ()


def evidence_texts(evidence: Evidence) -> list[str]:
    counts = {f.name: getattr(evidence, f.name) for f in fields(evidence) if f.name != "notes"}
    named = [f"{name.replace('_', ' ')} {count}" for name, count in counts.items() if count is not None]
    return [*named, *evidence.notes]


def _missing(rows: Sequence[Row], label: str, quantile: Callable[[Summary], Quantile]) -> tuple[Line, ...]:
    found = [(row, row.summaries["ttft"]) for row in rows if "ttft" in row.summaries]
    short = [(row, summary) for row, summary in found if quantile(summary).value is None]
    if not short:
        return ()
    floor = samples_floor(quantile(short[0][1]).probability)
    lack = ranged([quantile(summary).missing for _, summary in short], "sample")
    where = "every prompt length" if len(short) == len(rows) > 1 else ", ".join(str(r.prompt_tokens) for r, _ in short)
    return (Line(f"TTFT {label} needs n={floor}: {lack} missing at {where}; take more with --perf-samples"),)


def _warmups(recordings: Sequence[Recording]) -> tuple[Line, ...]:
    count = sum(len(recording.warmups) for recording in recordings)
    return (Line(f"warm-ups: {counted(count, 'request')}, in no number above"),) if count else ()


def _failures(recordings: Sequence[Recording]) -> tuple[Line, ...]:
    failures = [failure for recording in recordings for failure in recording.failures]
    if not failures:
        return ()
    stages = ", ".join(f"{count} in {stage!r}" for stage, count in Counter(f.stage for f in failures).items())
    first = next(iter(failures[0].message.splitlines()), "")
    return (Line(f"failures: {stages}; the first: {first}", "yellow"),)
