import json
from dataclasses import replace
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator

from perfsuite.core import jsontext
from perfsuite.core.drift import Drift
from perfsuite.core.options import Options
from perfsuite.report.json_report import report, text
from perfsuite.report.run import Run
from perfsuite.report.schema import report_schema
from tests.builders import make_cell, make_recording
from tests.reported import make_run
from tests.watched import STEP_NS, calm_monitoring, neighbour

COMMITTED = files("perfsuite.report").joinpath("report.schema.json").read_text(encoding="utf-8")
VALIDATOR = Draft202012Validator(json.loads(COMMITTED))


def errors(run: Run) -> list[str]:
    found = VALIDATOR.iter_errors(json.loads(text(run)))
    return [f"{list(error.absolute_path)[:5]}: {error.message[:200]}" for error in found]


def test_the_schema_in_the_package_is_the_one_of_the_code() -> None:
    """If not: python -m perfsuite.report.schema > perfsuite/report/report.schema.json."""
    assert jsontext.dumps(report_schema()) == COMMITTED


def test_it_is_a_json_schema() -> None:
    Draft202012Validator.check_schema(json.loads(COMMITTED))


def test_a_report_with_everything_in_it_fits() -> None:
    assert errors(make_run(("eager", "jit"), (10, 100), samples=60, notes=("a note",))) == []


def test_a_watched_recording_with_a_drift_fits() -> None:
    cell = make_cell()
    drift = Drift(
        cell=cell, metric="ttft.p50", day=9, days=16, session=16, sessions=23, since="2026-01-09T00:00:00Z",
        change=0.02, chance=1e-4,
    )  # fmt: skip
    monitoring = replace(calm_monitoring(), neighbours=(neighbour(),))
    recording = make_recording(cell)
    samples = tuple(replace(sample, sent_ns=4 * STEP_NS) for sample in recording.samples)
    watched = replace(recording, monitoring=monitoring, samples=samples)
    run = Run(options=Options(), recordings={cell: (watched,)}, drifts=(drift,))
    assert report(run)["cells"][0]["findings"]
    assert errors(run) == []


def test_a_run_without_a_cell_fits() -> None:
    assert errors(Run(options=Options(), recordings={}, unavailable={make_cell("vllm"): "not installed"})) == []


@pytest.mark.parametrize("key", ["schema", "perfsuite", "options", "environments", "cells", "notes", "command"])
def test_a_report_that_lacks_a_part_does_not_fit(key: str) -> None:
    data = json.loads(text(Run(options=Options(), recordings={})))
    del data[key]
    assert not VALIDATOR.is_valid(data)


@pytest.mark.parametrize(
    "key", ["recordings", "summaries", "verdicts", "findings", "problems", "baseline", "reproduce"]
)
def test_a_cell_that_lacks_a_part_does_not_fit(key: str) -> None:
    data = json.loads(text(make_run(("eager",), (10,), samples=60)))
    del data["cells"][0][key]
    assert not VALIDATOR.is_valid(data)
