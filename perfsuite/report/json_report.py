"""Owns the JSON report: everything a run measured and decided as one document that other tools can read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perfsuite import __version__
from perfsuite.core import jsontext
from perfsuite.core.codec import encode
from perfsuite.core.disturbance import findings
from perfsuite.core.drift import Drift
from perfsuite.core.errors import OptionError
from perfsuite.core.matrix import Cell
from perfsuite.core.options import Options
from perfsuite.core.recording import Recording
from perfsuite.core.resources import RESOURCES
from perfsuite.core.summary import Summary
from perfsuite.core.throughput import Objective, goodput_of, throughput_of
from perfsuite.core.verdict import Judgement
from perfsuite.disk import explain, try_writing, write_whole
from perfsuite.report.achieved import achieved, roofline_of
from perfsuite.report.rows import pooled
from perfsuite.report.twin import Row

SCHEMA = 6
"""Number of the report's layout. 5 lacked `twin`, `throughput` and `goodput` in cells and the times of requests in
samples, 4 `used` and `findings` in cells and `monitoring` in recordings, 3 `drifts` in cells, 2 `roofline` in cells and
recordings."""


def document(
    options: Options,
    recordings: Sequence[Recording],
    judgements: Sequence[Judgement],
    notes: Sequence[str] = (),
    drifts: Sequence[Drift] = (),
    *,
    twin: Sequence[Row] = (),
) -> dict[str, Any]:
    """Plain JSON data; durations are nanoseconds.

    Each cell has its recordings, raw samples and all, a summary per series over the sessions' pooled samples, its
    verdicts, and its roofline: the best limits of its sessions, the floor of each latency, and floor / P50 as
    `achieved`; null where no limits are known. `throughput` and `goodput` are null where there is nothing to tell.
    `used` is memory (bytes), energy (joules per token) and throughput (tokens per second) of each session that knows
    it, `findings` what disturbed the machine. `drifts` are warnings and no part of a verdict. `twin` is by metric what
    was found in turns: the verdict (levels in nanoseconds, ratio less one), the arm bias, how many pairs.
    """
    cells = dict.fromkeys((*(r.cell for r in recordings), *(judgement.cell for judgement in judgements)))
    return {
        "schema": SCHEMA,
        "perfsuite": __version__,
        "options": _options(options),
        "notes": list(notes),
        "cells": [
            {
                **_cell(cell, recordings, judgements, options.objectives),
                "drifts": [_drift(drift) for drift in drifts if drift.cell == cell],
                "twin": {row.verdict.metric: _twin(row) for row in twin if row.cell == cell},
            }
            for cell in cells
        ],
    }


def write(path: Path, document: dict[str, Any]) -> None:
    """Put the report at `path` in one step; OptionError if the disk refuses."""
    try:
        write_whole(path, jsontext.dumps(document))
    except OSError as error:
        raise OptionError(f"--perf-json: {path} cannot be written ({explain(error)})") from error


def check_writable(path: Path) -> None:
    """OptionError, before anything is measured, if no report could be written at `path`."""
    if path.is_dir():
        raise OptionError(f"--perf-json: {path} is a folder; name a file")
    try:
        try_writing(path.parent)
    except OSError as error:
        raise OptionError(
            f"--perf-json: {path} cannot be written ({explain(error)}); name a file in a folder you may write to"
        ) from error


def _cell(
    cell: Cell, recordings: Sequence[Recording], judgements: Sequence[Judgement], objectives: Sequence[Objective]
) -> dict[str, Any]:
    own = [recording for recording in recordings if recording.cell == cell]
    summaries = pooled(own)
    return {
        "id": cell.id,
        "cell": encode(cell),
        "recordings": [encode(recording) for recording in own],
        "summaries": encode(summaries),
        "roofline": _roofline(own, summaries),
        "verdicts": [encode(verdict) for judged in judgements if judged.cell == cell for verdict in judged.all],
        "throughput": encode(throughput_of(own)),
        "goodput": encode(goodput_of(own, objectives)),
        "used": {name: resource.values(own) for name, resource in RESOURCES.items()},
        "findings": [
            {"session": recording.session, **encode(finding)}
            for recording in own
            if recording.monitoring is not None
            for finding in findings((*recording.samples, *recording.set_aside), recording.monitoring)
        ],
    }


def _drift(drift: Drift) -> dict[str, Any]:
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
