"""Owns the OpenMetrics report: the run's numbers as text that Prometheus and GitLab's metrics reports read.

OpenMetrics 1.0: families with type, unit and help, base units (seconds, bytes, joules), '# EOF' at the end.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from perfsuite import __version__
from perfsuite.core.matrix import Cell
from perfsuite.core.resources import RESOURCES
from perfsuite.core.summary import Summary
from perfsuite.core.units import NS_PER_S
from perfsuite.core.verdict import Outcome
from perfsuite.report.achieved import achieved
from perfsuite.report.rows import Row, rows_of
from perfsuite.report.run import Run

Labels = Mapping[str, str]
Point = tuple[Labels, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Metrics of one name; the name ends with its unit, if it has one."""

    name: str
    help: str
    points: tuple[Point, ...]
    unit: str = ""
    type: str = "gauge"


def openmetrics(run: Run) -> str:
    """The whole text. A quantile below its sample floor is absent, never 0."""
    rows = rows_of(run.recordings)
    families = (
        _info(run),
        Family(
            name="perfsuite_latency_seconds",
            unit="seconds",
            help="Latency over the samples of all sessions, by series and statistic.",
            points=tuple(point for row in rows for point in _latencies(row)),
        ),
        Family(
            name="perfsuite_samples",
            help="Samples that a latency was taken of, by series.",
            points=tuple(
                ({**_labels(r.cell), "series": name}, s.count) for r in rows for name, s in r.summaries.items()
            ),
        ),
        Family(
            name="perfsuite_limit_ratio",
            unit="ratio",
            help="Floor by the roofline over P50, 1 at the limit of the device.",
            points=tuple(
                ({**_labels(row.cell), "series": series}, share)
                for row in rows
                for series, share in achieved(row.recordings, row.summaries).items()
            ),
        ),
        *_resources(rows),
        *_judged(run),
    )
    lines = [line for family in families if family.points for line in _lines(family)]
    return "\n".join((*lines, "# EOF", ""))


def _info(run: Run) -> Family:
    devices = dict.fromkeys(environment.device for environment in run.environments)
    points = tuple(({"version": __version__, "device": device}, 1.0) for device in devices)
    return Family(name="perfsuite", type="info", help="What measured, and where.", points=points)


def _labels(cell: Cell) -> dict[str, str]:
    work = cell.workload
    return {
        "cell": cell.id,
        "strategy": cell.strategy_slug,
        "model": cell.model.slug,
        "prompt_tokens": str(work.prompt_tokens),
        "output_tokens": str(work.output_tokens),
        "batch_size": str(work.batch_size),
    }


def _latencies(row: Row) -> Iterator[Point]:
    for series, summary in row.summaries.items():
        for statistic, nanoseconds in _statistics(summary).items():
            if nanoseconds is not None:
                yield {**_labels(row.cell), "series": series, "statistic": statistic}, nanoseconds / NS_PER_S


def _statistics(summary: Summary) -> dict[str, float | None]:
    quantiles = {"p50": summary.p50, "p95": summary.p95, "p99": summary.p99}
    return {"mean": summary.mean, **{name: quantile.value for name, quantile in quantiles.items()}}


def _resources(rows: list[Row]) -> tuple[Family, ...]:
    startups = tuple((_labels(row.cell), row.startup_ns / NS_PER_S) for row in rows if row.startup_ns is not None)
    memory = tuple((_labels(row.cell), float(row.memory)) for row in rows if row.memory is not None)
    energy = tuple(
        (_labels(row.cell), sum(values) / len(values))
        for row in rows
        if (values := RESOURCES["energy"].values(row.recordings))
    )
    return (
        Family(
            name="perfsuite_startup_seconds", unit="seconds", help="Median startup of the sessions.", points=startups
        ),
        Family(name="perfsuite_memory_bytes", unit="bytes", help="Most memory that a session took.", points=memory),
        Family(name="perfsuite_token_energy_joules", unit="joules", help="Energy per generated token.", points=energy),
    )


def _judged(run: Run) -> tuple[Family, ...]:
    verdicts = [(judged.cell, verdict) for judged in run.judgements for verdict in judged.all]
    changes = tuple(
        ({**_labels(cell), "metric": verdict.metric}, verdict.change)
        for cell, verdict in verdicts
        if verdict.change is not None
    )
    states = tuple(
        (
            {**_labels(cell), "metric": verdict.metric, "perfsuite_verdict": outcome.value},
            float(verdict.outcome is outcome),
        )
        for cell, verdict in verdicts
        for outcome in Outcome
    )
    return (
        Family(
            name="perfsuite_change_ratio",
            unit="ratio",
            help="Change against the baseline as a fraction, above 0 for larger values.",
            points=changes,
        ),
        Family(name="perfsuite_verdict", type="stateset", help="What became of each gate.", points=states),
    )


def _lines(family: Family) -> Iterator[str]:
    yield f"# TYPE {family.name} {family.type}"
    if family.unit:
        yield f"# UNIT {family.name} {family.unit}"
    yield f"# HELP {family.name} {_escaped(family.help)}"
    suffix = "_info" if family.type == "info" else ""
    for labels, value in family.points:
        told = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        yield f"{family.name}{suffix}{{{told}}} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
