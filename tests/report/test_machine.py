"""The columns that only a watched GPU has."""

from dataclasses import replace

from perfsuite.core.matrix import Cell
from perfsuite.core.recording import Memory, Recording
from perfsuite.core.verdict import Outcome
from perfsuite.report.machine import machine_columns
from perfsuite.report.rows import rows_of
from perfsuite.report.verdicts import verdict_line
from tests.builders import make_cell, make_recording, make_verdict
from tests.core.test_cycles import clocked
from tests.core.test_energy import consuming, generating

GIB = 2**30


def columns(*recordings: Recording) -> dict[str, tuple[str, ...]]:
    cells: dict[Cell, list[Recording]] = {
        make_cell(prompt=10 * index): [recording] for index, recording in enumerate(recordings, start=1)
    }
    return {column.title: column.cells for column in machine_columns(rows_of(cells))}


def test_a_machine_that_nobody_watched_has_no_such_columns() -> None:
    assert columns(make_recording()) == {}


def test_cycles_and_clock_stand_beside_the_milliseconds() -> None:
    assert columns(clocked([2000] * 5), make_recording()) == {"Mcycles": ("80.00", "-"), "MHz": ("2000", "-")}


def test_a_cells_own_peak_and_its_energy_are_shown_where_they_are_known() -> None:
    held = replace(make_recording(), memory=Memory(cell_peak=13 * GIB + GIB // 4))
    found = columns(held, generating(consuming(*(60_000,) * 4)))
    assert found["GiB"] == ("13.250", "-")
    assert found["J/token"] == ("-", "30.000")


def test_a_verdict_on_memory_is_told_in_bytes() -> None:
    verdict = replace(
        make_verdict(Outcome.REGRESSED, "memory", reason="1 of 1 candidate sessions are worse"),
        tolerance=0.02,
        baseline=13 * GIB,
        candidate=14 * GIB,
        change=1 / 13,
        interval=None,
    )
    assert verdict_line(make_cell(), verdict) == (
        "eager/tiny/p100-o4: peak memory regressed 13.0 GiB -> 14.0 GiB (+7.7 %), tolerance 2 %: "
        "1 of 1 candidate sessions are worse"
    )


def test_a_change_in_cycles_is_said_where_it_is_another_one() -> None:
    line = verdict_line(make_cell(), replace(make_verdict(), cycles_change=0.001))
    assert "(+16.3 %, 95 % CI +12.1..+20.4 %, n=50 vs 5x50, in cycles +0.1 %)" in line
    assert "cycles" not in verdict_line(make_cell(), replace(make_verdict(), cycles_change=0.16))
