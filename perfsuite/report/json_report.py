"""Owns the JSON report: everything a run measured and decided as one document that other tools can read."""

from collections.abc import Mapping, Sequence
from typing import Any

from perfsuite import __version__
from perfsuite.core import jsontext
from perfsuite.core.codec import encode
from perfsuite.core.disturbance import findings
from perfsuite.core.drift import Drift
from perfsuite.core.matrix import Cell
from perfsuite.core.options import Options
from perfsuite.core.recording import Recording
from perfsuite.core.resources import RESOURCES
from perfsuite.core.suite import Gates
from perfsuite.core.summary import Summary
from perfsuite.core.throughput import goodput_of, throughput_of
from perfsuite.core.validity import problems
from perfsuite.core.verdict import Judgement
from perfsuite.report.achieved import achieved, roofline_of
from perfsuite.report.rows import pooled
from perfsuite.report.run import Run
from perfsuite.report.twin import Row

SCHEMA = 8
"""Number of the layout; report.schema.json describes it. 7 lacked `twin_sessions` in `options.gate`, 6 `shard`,
in cells `gates`, `save` and `stored`; 5 `command`, `environments` and `unavailable`, in cells `baseline`, `problems`,
`reproduce`, `throughput`, `goodput` and `twin`, and the times of requests in samples; 4 `used` and `findings` in cells
and `monitoring` in recordings, 3 `drifts` in cells, 2 `roofline` in cells and recordings."""


def document(
    options: Options,
    recordings: Sequence[Recording],
    judgements: Sequence[Judgement],
    notes: Sequence[str] = (),
    drifts: Sequence[Drift] = (),
    *,
    twin: Sequence[Row] = (),
) -> dict[str, Any]:
    """The report of these parts of a run; see `report`."""
    cells = dict.fromkeys((*(r.cell for r in recordings), *(judgement.cell for judgement in judgements)))
    held = {cell: tuple(r for r in recordings if r.cell == cell) for cell in cells}
    return report(
        Run(
            options=options,
            recordings=held,
            judgements=tuple(judgements),
            notes=tuple(notes),
            drifts=tuple(drifts),
            twin=tuple(twin),
        )
    )


def report(run: Run) -> dict[str, Any]:
    """Plain JSON data in the layout of report.schema.json; durations are nanoseconds.

    Each cell has its recordings, raw samples and all, a summary per series over the sessions' pooled samples, its
    verdicts, and its roofline: the best limits of its sessions, the floor of each latency, and floor / P50 as
    `achieved`; null where no limits are known. `throughput` and `goodput` are null where there is nothing to tell.
    `used` is memory (bytes), energy (joules per token) and throughput (tokens per second) of each session that knows
    it, `findings` what disturbed the machine, `problems` why a recording may not be believed. `drifts` are warnings and
    no part of a verdict. `twin` is by metric what was found in turns: the verdict (levels in nanoseconds, ratio less
    one), the arm bias, how many pairs. `gates` are the tolerances of each test that judges the cell. `shard` says what
    this is of a run that shards share, null of a whole run; then `stored` is the cell's whole baseline.
    """
    return {
        "schema": SCHEMA,
        "perfsuite": __version__,
        "command": run.command,
        "options": _options(run.options),
        "environments": [encode(environment) for environment in run.environments],
        "unavailable": {cell.id: reason for cell, reason in run.unavailable.items()},
        "shard": None if run.portion is None else encode(run.portion),
        "notes": list(run.notes),
        "cells": [_cell(cell, run) for cell in run.cells],
    }


def text(run: Run) -> str:
    """The report as a file holds it."""
    return jsontext.dumps(report(run))


def _cell(cell: Cell, run: Run) -> dict[str, Any]:
    own = run.recordings.get(cell, ())
    summaries = pooled(own)
    return {
        "id": cell.id,
        "cell": encode(cell),
        "recordings": [encode(recording) for recording in own],
        "summaries": encode(summaries),
        "roofline": _roofline(own, summaries),
        "verdicts": [encode(verdict) for judged in run.judgements if judged.cell == cell for verdict in judged.all],
        "gates": [encoded_gates(gates) for gates in run.gates.get(cell, ())],
        "baseline": _baseline(cell, run),
        "stored": _stored(cell, run),
        "throughput": encode(throughput_of(own)),
        "goodput": encode(goodput_of(own, run.options.objectives)),
        "used": {name: resource.values(own) for name, resource in RESOURCES.items()},
        "findings": [
            {"session": recording.session, **encode(finding)}
            for recording in own
            if recording.monitoring is not None
            for finding in findings((*recording.samples, *recording.set_aside), recording.monitoring)
        ],
        "problems": [
            {"session": recording.session, "problem": problem} for recording in own for problem in problems(recording)
        ],
        "drifts": [encoded_drift(drift) for drift in run.drifts if drift.cell == cell],
        "twin": {row.verdict.metric: _twin(row) for row in run.twin if row.cell == cell},
        "reproduce": run.reproduce(cell),
        "save": run.save(cell),
    }


def encoded_gates(gates: Gates) -> dict[str, Any]:
    """Tolerances under the metrics' keys, as people write them."""
    tolerances = {metric.key: value for metric, value in gates.tolerances.items()}
    return {"tolerances": tolerances, "resources": dict(gates.resources)}


def _stored(cell: Cell, run: Run) -> dict[str, Any] | None:
    """Of a shard the whole baseline, because its cells are judged once more with all others."""
    baseline = run.baselines.get(cell) if run.portion and not run.options.save_baseline else None
    return None if baseline is None else encode(baseline)


def _baseline(cell: Cell, run: Run) -> dict[str, Any] | None:
    """What the cell was judged by, without its samples, which are stored with it."""
    baseline = run.baselines.get(cell)
    if baseline is None:
        return None
    return {
        "commit": baseline.commit,
        "saved_at": baseline.saved_at,
        "sessions": len(baseline.recordings),
        "environment": encode(baseline.environment),
        "modes": encode(baseline.modes),
    }


def encoded_drift(drift: Drift) -> dict[str, Any]:
    """Its cell stands around it."""
    return {name: value for name, value in encode(drift).items() if name != "cell"}


def _twin(row: Row) -> dict[str, Any]:
    turns = "whole sessions" if row.is_apart else "blocks"
    return {"verdict": encode(row.verdict), "bias": encode(row.bias), "pairs": row.pairs, "turns": turns}


def _roofline(own: Sequence[Recording], summaries: Mapping[str, Summary]) -> dict[str, Any] | None:
    roofline = roofline_of(own)
    if roofline is None:
        return None
    floors_ns = roofline.series(own[0].cell.workload)
    return {**encode(roofline), "floors_ns": floors_ns, "achieved": achieved(own, summaries)}


def _options(options: Options) -> dict[str, Any]:
    """The options with the tolerances under the metrics' keys, 'ttft.p50', as people write them."""
    encoded: dict[str, Any] = encode(options)
    encoded["gate"]["tolerances"] = {metric.key: value for metric, value in options.gate.tolerances.items()}
    return encoded
