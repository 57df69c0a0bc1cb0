"""Owns the comparison of strategies: one row per strategy at the shortest, the middle and the longest prompt."""

from collections.abc import Sequence
from statistics import median

from perfsuite.core.metrics import Metric, Statistic
from perfsuite.report.columns import (
    median_column,
    memory_column,
    quantile_text,
    series_column,
    shared_decimals,
    startup_column,
)
from perfsuite.report.headings import counted, request_phrase, slowdown_lines
from perfsuite.report.layout import Column, Line, table
from perfsuite.report.offers import arms_of, common_length, offer_of, payback
from perfsuite.report.ratios import ratio_table
from perfsuite.report.rows import RecordingsByCell, Row, grouped, rows_of, shape

RATIOS = (Metric(series="ttft", statistic=Statistic.P50), Metric(series="tpot", statistic=Statistic.P50))


def comparison(recordings: RecordingsByCell) -> tuple[Line, ...]:
    """A table per model and kind of workload; empty unless two strategies share one."""
    groups = grouped(rows_of(recordings), lambda row: (row.cell.model, shape(row.cell.workload)))
    several = [rows for rows in groups if len({row.cell.strategy for row in rows}) > 1]
    return tuple(line for rows in several for line in (*_table(rows), Line("")))


def _table(rows: Sequence[Row]) -> tuple[Line, ...]:
    strategies = grouped(rows, lambda row: row.cell.strategy)
    cell = rows[0].cell
    columns = (
        Column(group="", title="strategy", left=True, cells=tuple(own[0].cell.strategy_slug for own in strategies)),
        *(column for length in _shown_lengths(rows) for column in _length_columns(strategies, length)),
        startup_column([_startup_ns(own) for own in strategies]),
        memory_column([_memory(own) for own in strategies]),
    )
    title = f"{cell.model.name} by strategy: {request_phrase(cell.workload)}; P50 and P99 are of TTFT, TPOT is its P50"
    ratios = ratio_table(strategies, _shown_lengths(rows), RATIOS)
    return (Line(title, "bold"), *slowdown_lines(rows), *table(columns), *ratios, *_payback_lines(rows))


def _payback_lines(rows: Sequence[Row]) -> tuple[Line, ...]:
    """'jit pays back against eager after 364 requests: …', for every strategy but the first."""
    length = common_length(rows)
    if length is None:
        return ()
    first, *others = (offer_of(own, length) for own in arms_of(rows))
    head = f"requests of {length} prompt and {counted(rows[0].cell.workload.output_tokens, 'output token')} by E2E P50"
    told = "; ".join(f"{offer.name} pays back against {first.name} {payback(offer, first)}" for offer in others)
    return (Line(f"{head}: {told}"),)


def _shown_lengths(rows: Sequence[Row]) -> list[int]:
    lengths = sorted({row.prompt_tokens for row in rows})
    return sorted({lengths[0], lengths[len(lengths) // 2], lengths[-1]})


def _length_columns(strategies: Sequence[Sequence[Row]], length: int) -> tuple[Column, ...]:
    rows = [next((row for row in own if row.prompt_tokens == length), None) for own in strategies]
    group = f"prompt {length}, ms"
    decimals = shared_decimals(rows, "ttft")
    return (
        median_column(rows, "ttft", group, "P50"),
        series_column(rows, "ttft", group, "P99", lambda s: quantile_text(s.p99, decimals)),
        median_column(rows, "tpot", group, "TPOT"),
    )


def _startup_ns(rows: Sequence[Row]) -> float | None:
    times = [row.startup_ns for row in rows if row.startup_ns is not None]
    return median(times) if times else None


def _memory(rows: Sequence[Row]) -> int | None:
    return max((row.memory for row in rows if row.memory is not None), default=None)
