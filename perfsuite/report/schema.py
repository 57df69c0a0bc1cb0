"""Owns the JSON Schema of the JSON report; `python -m perfsuite.report.schema` prints it.

It is generated from the types whose values the report holds; report.schema.json is the committed copy.
"""

import sys
from typing import Any

from perfsuite.core import jsontext
from perfsuite.core.baseline import Baseline
from perfsuite.core.codec import hints
from perfsuite.core.disturbance import Finding
from perfsuite.core.drift import Drift
from perfsuite.core.matrix import Cell
from perfsuite.core.options import Options
from perfsuite.core.recording import Environment, Recording
from perfsuite.core.resources import RESOURCES
from perfsuite.core.roofline import Roofline
from perfsuite.core.schema import Definitions, Schema, closed
from perfsuite.core.shard import Portion
from perfsuite.core.summary import Summary
from perfsuite.core.throughput import Goodput, Throughput
from perfsuite.core.twin import Bias
from perfsuite.core.verdict import Verdict
from perfsuite.report.json_report import SCHEMA

NUMBERS: Schema = {"type": "object", "additionalProperties": {"type": "number"}}


def report_schema() -> dict[str, Any]:
    """The schema of the report's present layout, JSON Schema 2020-12."""
    types = Definitions()
    document = closed(
        {
            "schema": _told({"const": SCHEMA}, "number of this layout"),
            "perfsuite": _told({"type": "string"}, "version of perfsuite that wrote the report"),
            "command": _told({"type": "string"}, "command line of the run; empty if it is not known"),
            "options": _told(types.of(Options), "what the run was asked to do, tolerances by the keys of metrics"),
            "environments": _told(_list(types.of(Environment)), "where the recordings were made, each once"),
            "unavailable": _told(_strings(), "why cells could not be measured, by id"),
            "shard": _told(_nullable(types.of(Portion)), "null if this is a whole run"),
            "notes": _told(_list({"type": "string"}), "what else the run had to say, a line each"),
            "cells": _list({"$ref": "#/$defs/ReportedCell"}),
        }
    )
    types.schemas["ReportedCell"] = _cell(types)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"perfsuite report, layout {SCHEMA}",
        "description": "All that a run measured and judged. Durations are nanoseconds, sizes bytes, changes fractions.",
        **document,
        "$defs": dict(sorted(types.schemas.items())),
    }


def _cell(types: Definitions) -> Schema:
    series = {"type": "object", "additionalProperties": types.of(Summary)}
    return closed(
        {
            "id": _told({"type": "string"}, "strategy/model/workload, as in the ids of tests"),
            "cell": types.of(Cell),
            "recordings": _told(_list(types.of(Recording)), "one a session: raw samples, evidence, environment"),
            "summaries": _told(series, "by series, over the samples of all sessions, in nanoseconds"),
            "roofline": _nullable(_roofline(types)),
            "verdicts": _list(types.of(Verdict)),
            "gates": _told(_list(_gates()), "tolerances, fractions, of each test that judges the cell"),
            "baseline": _nullable(_baseline(types)),
            "stored": _told(_nullable(types.of(Baseline)), "of a shard, the whole baseline, to judge anew"),
            "throughput": _told(_nullable(types.of(Throughput)), "output tokens a second over the measured span"),
            "goodput": _told(_nullable(types.of(Goodput)), "requests that kept to --perf-goodput"),
            "used": closed({name: _list({"type": "number"}) for name in RESOURCES}),
            "findings": _told(_list(_finding(types)), "what disturbed the machine beside the samples of a session"),
            "problems": _told(_list(_problem()), "why recordings may not be believed"),
            "drifts": _told(_list(_without(types, Drift, "cell")), "levels that drifted over the stored history"),
            "twin": {"type": "object", "additionalProperties": _told(_twin(types), "found in turns, by metric")},
            "reproduce": _told({"type": "string"}, "command that measures this cell again; empty if it is not known"),
            "save": _told({"type": "string"}, "command that records this cell's baseline; empty if it is not known"),
        }
    )


def _roofline(types: Definitions) -> Schema:
    properties = _properties(types, Roofline)
    floors = _told(NUMBERS, "least time of each latency by the measured limits, by series")
    return closed(
        {**properties, "floors_ns": floors, "achieved": _told(NUMBERS, "floor / P50 by series, 1 at the limit")}
    )


def _baseline(types: Definitions) -> Schema:
    kept = {name: types.of(hints(Baseline)[name]) for name in ("commit", "saved_at", "modes")}
    return closed({**kept, "sessions": {"type": "integer"}, "environment": types.of(Environment)})


def _gates() -> Schema:
    return closed({"tolerances": NUMBERS, "resources": NUMBERS})


def _twin(types: Definitions) -> Schema:
    turns = {"enum": ["blocks", "whole sessions"]}
    return closed(
        {
            "verdict": types.of(Verdict),
            "bias": _nullable(types.of(Bias)),
            "pairs": {"type": "integer"},
            "turns": turns,
        }
    )


def _finding(types: Definitions) -> Schema:
    return closed({"session": {"type": "integer"}, **_properties(types, Finding)})


def _problem() -> Schema:
    return closed({"session": {"type": "integer"}, "problem": {"type": "string"}})


def _without(types: Definitions, kind: type, left_out: str) -> Schema:
    return closed({name: schema for name, schema in _properties(types, kind).items() if name != left_out})


def _properties(types: Definitions, kind: type) -> dict[str, Schema]:
    return {name: types.of(hint) for name, hint in hints(kind).items()}


def _told(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _strings() -> Schema:
    return {"type": "object", "additionalProperties": {"type": "string"}}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


if __name__ == "__main__":
    sys.stdout.write(jsontext.dumps(report_schema()))
