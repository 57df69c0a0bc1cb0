from dataclasses import replace

from perfsuite.core.metrics import parse_metric
from perfsuite.core.ratio import Ratio
from perfsuite.core.verdict import Interval
from perfsuite.report.ratios import course_lines, ratio_line, ratio_text, remedy
from perfsuite.report.rows import Row, rows_of
from tests.builders import make_cell, make_recording

TTFT = parse_metric("ttft.p50", where="test")
SURE = Ratio(times=1.312, interval=Interval(low=1.204, high=1.429), sessions=4, others=3)
SINGLE = Ratio(times=1.312, interval=None, sessions=1, others=4)


def test_a_ratio_is_shown_with_its_interval_where_there_is_one() -> None:
    assert [ratio_text(each) for each in (SURE, SINGLE, None)] == ["1.31x (1.20..1.43)", "1.31x", "-"]


def test_a_gate_says_what_was_found_and_what_was_asked_for() -> None:
    assert ratio_line("jit/tiny/p10-o4", TTFT, "eager", SURE, 1.3) == (
        "jit/tiny/p10-o4: TTFT P50 is 1.31x as fast as eager (95 % CI 1.20..1.43, 4 and 3 sessions), asked for 1.3x"
    )
    assert "(no interval, 1 and 4 sessions)" in ratio_line("a", TTFT, "b", SINGLE, 2)


def test_sessions_that_took_turns_are_told() -> None:
    assert "4 and 3 sessions in turns)" in ratio_line("a", TTFT, "b", replace(SURE, is_paired=True), 2)


def test_a_table_says_who_took_turns_and_who_did_not() -> None:
    def rows(strategy: str, *beside: str) -> list[Row]:
        cell = make_cell(strategy)
        return rows_of({cell: [replace(make_recording(cell), beside=beside)]})

    strategies = [rows("eager", "jit"), rows("jit", "eager"), rows("vllm"), rows("tensorrt")]
    assert course_lines(strategies) == (
        "measured in turns with eager, block by block: jit",
        "measured one after the other with eager: vllm, tensorrt",
    )


def test_what_would_decide_is_more_sessions() -> None:
    assert remedy(SINGLE) == "to decide: more sessions, --perf-sessions 4"
    assert remedy(SURE) == "to decide: more sessions, --perf-sessions 6"
