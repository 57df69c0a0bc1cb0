from perfsuite.core.options import Options
from perfsuite.core.verdict import Judgement, Outcome
from perfsuite.report.annotations import MOST, Place, annotations
from perfsuite.report.run import Run
from tests.builders import make_cell, make_verdict

CELL = make_cell()
PLACE = Place(path="tests/perf/test_latency.py", line=15)


def run_of(*judgements: Judgement) -> Run:
    return Run(options=Options(), recordings={}, judgements=judgements, reproduce=lambda cell: f"pytest -k {cell.id}")


def test_a_regression_is_an_error_at_the_line_of_its_test() -> None:
    (line,) = annotations(run_of(Judgement(cell=CELL, verdicts=(make_verdict(),))), {CELL: PLACE})
    head, message = line.split("::", 2)[1:]
    assert head == "error file=tests/perf/test_latency.py,line=15,title=perfsuite%3A eager/tiny/p100-o4 regressed"
    assert message == (
        "eager/tiny/p100-o4: TTFT P50 regressed 41.2 ms -> 47.9 ms (+16.3 %25, 95 %25 CI +12.1..+20.4 %25, "
        "n=50 vs 5x50), tolerance 5 %25%0Areproduce: pytest -k eager/tiny/p100-o4"
    )


def test_what_ends_a_property_or_a_line_is_escaped() -> None:
    verdict = make_verdict(Outcome.INVALID, reason="100 % wrong\r\nreally")
    place = Place(path="a,b:c%d.py", line=1)
    (line,) = annotations(run_of(Judgement(cell=CELL, verdicts=(verdict,))), {CELL: place})
    assert line.startswith("::error file=a%2Cb%3Ac%25d.py,line=1,")
    assert "\n" not in line
    assert "\r" not in line


def test_what_does_not_fail_is_no_error() -> None:
    verdicts = tuple(make_verdict(outcome) for outcome in Outcome if not outcome.fails)
    assert annotations(run_of(Judgement(cell=CELL, verdicts=verdicts)), {CELL: PLACE}) == ()


def test_a_cell_has_one_annotation_for_all_its_metrics() -> None:
    verdicts = (make_verdict(), make_verdict(metric="tpot.p50"))
    (line,) = annotations(run_of(Judgement(cell=CELL, verdicts=verdicts)), {CELL: PLACE})
    assert "TTFT P50 regressed" in line
    assert "%0Aeager/tiny/p100-o4: TPOT P50 regressed" in line


def test_a_cell_whose_test_is_not_known_has_an_annotation_without_a_place() -> None:
    (line,) = annotations(run_of(Judgement(cell=CELL, verdicts=(make_verdict(),))), {})
    assert line.startswith("::error title=perfsuite%3A ")


def test_of_too_many_the_worst_are_shown_and_the_rest_is_counted() -> None:
    judged = [Judgement(cell=make_cell(prompt=n), verdicts=(make_verdict(),)) for n in range(1, MOST + 3)]
    lines = annotations(run_of(*judged), {})
    assert len(lines) == MOST
    assert lines[-1] == "::error title=perfsuite::3 more cells failed, see the summary"
