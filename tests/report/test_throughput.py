"""Output throughput and goodput as columns."""

from perfsuite.core.throughput import parse_objectives
from perfsuite.report.rows import rows_of
from perfsuite.report.tables import tables
from perfsuite.report.throughput import goodput_columns, throughput, throughput_columns
from tests.builders import make_cell, make_recording, make_sessions, with_requests

OBJECTIVES = parse_objectives("ttft:50ms,tpot:10ms", where="test")


def cells(columns):
    return {column.title: column.cells for column in columns}


def test_throughput_has_half_an_interval_once_there_are_two_sessions():
    cell = make_cell()
    (one,) = rows_of({cell: [make_recording(cell)]})
    (two,) = rows_of({cell: make_sessions(make_recording(cell), 2)})
    assert cells(throughput_columns([one])) == {"tokens/s": ("87.0",), "±": ("-",)}
    assert cells(throughput_columns([two])) == {"tokens/s": ("87.0",), "±": ("0.0",)}


def test_goodput_is_a_share_with_its_interval_and_n():
    cell = make_cell(rows=2)
    rows = rows_of({cell: [with_requests(make_recording(cell, decode=10), 2, later_ms=15)]})
    shown = cells(goodput_columns(rows, OBJECTIVES))
    assert shown == {"good": ("50.0 %",), "95 % CI": ("23.7..76.3",), "n": ("10/20",), "req/s": ("16.4",)}


def test_a_row_per_cell_and_what_is_good_below() -> None:
    cells = [make_cell(prompt=prompt) for prompt in (10, 400)]
    lines = throughput({cell: [make_recording(cell)] for cell in cells}, OBJECTIVES)
    assert [line.text for line in lines[:4]] == [
        "                     throughput   ----------- goodput ------------",
        "output              tokens/s  ±     good      95 % CI    n  req/s",
        "eager/tiny/p10-o4       87.0  -  100.0 %  51.0..100.0  4/4   21.7",
        "eager/tiny/p400-o4      87.0  -  100.0 %  51.0..100.0  4/4   21.7",
    ]
    assert lines[5].text == (
        "goodput counts full requests with TTFT at most 50.0 ms and TPOT at most 10.0 ms; its interval is Wilson's"
    )


def test_without_objectives_nothing_is_said_of_goodput():
    cell = make_cell()
    assert not [line for line in throughput({cell: [make_recording(cell)]}) if "good" in line.text]


def test_without_full_requests_there_is_no_table():
    cell = make_cell()
    assert throughput({cell: [make_recording(cell, decode=0)]}) == ()


def test_requests_sent_together_are_told_below_the_tables():
    cell = make_cell(rows=2)
    lines = tables({cell: [with_requests(make_recording(cell))]})
    assert any("n counts requests, intervals and sample floors calls" in line.text for line in lines)
