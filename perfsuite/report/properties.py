"""Owns the numbers of a cell as named properties, for JUnit files: 'ttft_ms.p50', 'ttft.p50.verdict'."""

from collections.abc import Iterator

from perfsuite.core.matrix import Cell
from perfsuite.core.units import to_ms, to_s
from perfsuite.report.achieved import achieved
from perfsuite.report.rows import Row, rows_of
from perfsuite.report.run import Run

Properties = tuple[tuple[str, str], ...]


def properties(cell: Cell, run: Run) -> Properties:
    """Latencies in milliseconds by series and statistic, what the cell took, its share of the limit, its verdicts.

    What is not known, and a quantile below its sample floor, is absent. Empty if nothing was measured of the cell.
    """
    found = {name: text for row in rows_of({cell: run.recordings.get(cell, ())}) for name, text in _measured(row)}
    for verdict in run.verdicts(cell):
        found[f"{verdict.metric}.verdict"] = verdict.outcome.value
        if verdict.change is not None:
            found[f"{verdict.metric}.change"] = f"{verdict.change:+.4f}"
    return tuple(found.items())


def _measured(row: Row) -> Iterator[tuple[str, str]]:
    yield "cell", row.cell.id
    yield "device", row.recordings[0].environment.device
    for series, summary in row.summaries.items():
        quantiles = {"p50": summary.p50, "p95": summary.p95, "p99": summary.p99}
        values = {"mean": summary.mean, **{name: quantile.value for name, quantile in quantiles.items()}}
        for statistic, value in values.items():
            if value is not None:
                yield f"{series}_ms.{statistic}", f"{to_ms(value):.4f}"
        yield f"{series}.n", str(summary.count)
    if row.startup_ns is not None:
        yield "startup_s", f"{to_s(row.startup_ns):.3f}"
    if row.memory is not None:
        yield "memory_bytes", str(row.memory)
    for series, share in achieved(row.recordings, row.summaries).items():
        yield f"{series}.of_limit", f"{share:.4f}"
