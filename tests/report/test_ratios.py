from perfsuite.core.metrics import parse_metric
from perfsuite.core.ratio import Ratio
from perfsuite.core.verdict import Interval
from perfsuite.report.ratios import ratio_line, ratio_text, remedy

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


def test_what_would_decide_is_more_sessions() -> None:
    assert remedy(SINGLE) == "to decide: more sessions, --perf-sessions 4"
    assert remedy(SURE) == "to decide: more sessions, --perf-sessions 6"
