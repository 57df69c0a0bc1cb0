from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from perfsuite.core.options import Options
from perfsuite.core.verdict import Judgement, Outcome
from perfsuite.core.workload import ModelSpec
from perfsuite.report.openmetrics import openmetrics
from perfsuite.report.run import Run
from tests.builders import make_cell, make_recording, make_roofline, make_verdict
from tests.reported import make_run

CELL = make_cell()


def parsed(run: Run) -> dict[str, list[Sample]]:
    """By the name of their family; the parser refuses what is not OpenMetrics."""
    return {family.name: family.samples for family in text_string_to_metric_families(openmetrics(run))}


def latency(samples: list[Sample], series: str, statistic: str) -> float:
    (found,) = (s for s in samples if (s.labels["series"], s.labels["statistic"]) == (series, statistic))
    return found.value


def test_latencies_are_seconds_with_the_cell_in_their_labels() -> None:
    found = parsed(Run(options=Options(), recordings={CELL: (make_recording(CELL, ttft_ms=40, tpot_ms=2),)}))
    samples = found["perfsuite_latency_seconds"]
    assert latency(samples, "ttft", "p50") == pytest.approx(0.040)
    assert latency(samples, "tpot", "p50") == pytest.approx(0.002)
    labels = {**samples[0].labels}
    assert (labels["cell"], labels["strategy"], labels["prompt_tokens"]) == ("eager/tiny/p100-o4", "eager", "100")


def test_a_quantile_below_its_floor_is_absent() -> None:
    found = parsed(Run(options=Options(), recordings={CELL: (make_recording(CELL, n=20),)}))
    assert {s.labels["statistic"] for s in found["perfsuite_latency_seconds"]} == {"mean", "p50"}


def test_startup_memory_and_the_share_of_the_limit_are_there() -> None:
    recording = replace(make_recording(CELL), roofline=make_roofline(read_ms=1.0, token_ms=0.01))
    found = parsed(Run(options=Options(), recordings={CELL: (recording,)}))
    assert found["perfsuite_startup_seconds"][0].value == 2.5
    assert found["perfsuite_memory_bytes"][0].value == 100 * 2**20
    shares = {s.labels["series"]: s.value for s in found["perfsuite_limit_ratio"]}
    assert shares["ttft"] == pytest.approx(1 / 40)


def test_a_verdict_is_a_state_and_its_change_a_ratio() -> None:
    judgement = Judgement(cell=CELL, verdicts=(make_verdict(Outcome.REGRESSED),))
    found = parsed(Run(options=Options(), recordings={CELL: (make_recording(CELL),)}, judgements=(judgement,)))
    assert found["perfsuite_change_ratio"][0].value == 0.163
    states = {s.labels["perfsuite_verdict"]: s.value for s in found["perfsuite_verdict"]}
    assert states == {outcome.value: float(outcome is Outcome.REGRESSED) for outcome in Outcome}


def test_a_whole_run_is_openmetrics() -> None:
    found = parsed(make_run(("eager", "jit"), (10, 100), samples=60))
    assert len(found["perfsuite_verdict"]) == 2 * 2 * 4 * len(Outcome)
    assert "perfsuite" in found


def test_a_run_without_a_cell_is_an_empty_document() -> None:
    assert openmetrics(Run(options=Options(), recordings={})) == "# EOF\n"


def test_no_name_can_break_the_format() -> None:
    cell = replace(CELL, strategy='mod:Odd"\\\nName', model=ModelSpec(name="tiny"))
    found = parsed(Run(options=Options(), recordings={cell: (make_recording(cell),)}))
    assert found["perfsuite_latency_seconds"][0].labels["strategy"] == 'Odd"\\\nName'
