from dataclasses import replace

from perfsuite.core.twin import Bias
from perfsuite.core.verdict import Interval, Outcome
from perfsuite.report.twin import Row, bias_text, ratio_text, twin_table
from tests.builders import make_cell, make_verdict

BIAS = Bias(change=0.001, interval=Interval(low=-0.002, high=0.004), sessions=4)


def row(**changes: object) -> Row:
    made = Row(cell=make_cell(), verdict=replace(make_verdict(), candidate_sessions=3), bias=BIAS, pairs=150)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_row_tells_ratio_interval_bias_pairs_and_sessions() -> None:
    lines = twin_table([row()], "main (3f2a1c9)", "the working tree")
    assert lines[0].text.startswith("old: main (3f2a1c9), new: the working tree, in turns")
    assert " ".join(lines[3].text.split()) == (
        "eager/tiny/p100-o4 TTFT P50 41.2 47.9 1.163 (1.121..1.204) +0.1 % (-0.2..+0.4) 150 3 + 5 blocks"
    )


def test_turns_by_whole_sessions_are_named() -> None:
    assert "whole sessions" in twin_table([row(is_apart=True)], "a", "b")[3].text


def test_without_a_number_there_is_no_row_and_no_table() -> None:
    nothing = replace(make_verdict(Outcome.INVALID), change=None)
    assert twin_table([row(verdict=nothing)], "a", "b") == ()


def test_one_session_has_no_interval() -> None:
    assert bias_text(replace(BIAS, interval=None)) == "+0.1 %"
    assert bias_text(None) == "-"
    assert ratio_text(replace(make_verdict(), interval=None)) == "1.163"
