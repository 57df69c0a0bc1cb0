"""What is said after a baseline was saved."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from perfsuite.core.calibration import Calibrated
from perfsuite.core.canary import RAW, Canary, Mode
from perfsuite.core.metrics import parse_metric
from perfsuite.core.repetition import Cost
from perfsuite.report.calibration import EXPLAINED, LEGEND, REPETITION, calibration
from perfsuite.report.layout import Line
from tests.builders import make_cell

BY_HOST = Mode(canary=Canary.HOST, weight=0.61, reference_ns=1e6)


def row(
    metric: str = "ttft.p50",
    *,
    mode: Mode = RAW,
    smallest: float | None = 0.02,
    needed: int | None = 3,
    tolerance: float = 0.05,
    prompt: int = 100,
    strategy: str = "eager",
    reason: str = "",
) -> Calibrated:
    """Eight sessions 0.5 % apart, of which the blocks explain 0.4 %, so that 0.3 % are the processes' own."""
    return Calibrated(
        cell=make_cell(strategy, prompt=prompt),
        metric=parse_metric(metric, where="test"),
        tolerance=tolerance,
        mode=mode,
        sessions=8,
        session_sd=0.005,
        raw_sd=0.005 if mode is RAW else 0.07,
        block_sd=0.004,
        smallest=smallest,
        sessions_needed=needed,
        reason=reason,
    )


def lines(*found: Calibrated) -> tuple[Line, ...]:
    return calibration(found, looks=6, gates=12)


def texts(*found: Calibrated) -> list[str]:
    return [line.text for line in lines(*found)]


def test_a_calibration_is_this_text() -> None:
    refused = row("ttft.p99", tolerance=0.1, smallest=None, needed=None, reason="60 samples are too few")
    assert texts(row(mode=BY_HOST), row("tpot.p50", smallest=0.0712, needed=None), refused) == [
        "calibration of eager on tiny: 8 sessions",
        "                              ------ sd, % ------  ---- change, % ----   sessions",
        "cell     metric    samples     raw  used  process  can gate  tolerance  has  needs",
        "p100-o4  TTFT P50  host^0.61  7.00  0.50     0.30       2.0        5.0    8      3",
        "p100-o4  TPOT P50  raw        0.50  0.50     0.30       7.1        5.0    8    >20  "
        "cannot gate 5 %, can gate 7.1 %",
        "p100-o4  TTFT P99  raw        0.50  0.50     0.30         -       10.0    8      -  "
        "cannot gate: 60 samples are too few",
        "",
        *LEGEND,
        "at most 1 false alarm in 1,000 runs over 12 gates, at most 6 sessions a cell",
        "perfsuite: 1 of 3 gates can hold their tolerance",
        "fresh processes that a baseline needs here: 3 for a usual gate, 3 at most; for 1 gate not even 20 would do",
    ]


def test_the_samples_a_session_is_worth_stand_below_the_table_by_cell() -> None:
    """sqrt(4 s / 40 ms) * sqrt(100) * 0.4 % / 0.3 % = 133.3 samples; where blocks explain all there is no limit."""
    cost = Cost(session_ns=4e9, sample_ns=4e7, samples=100)
    held = replace(row(), cost=cost)
    free = replace(row("tpot.p50"), cost=replace(cost, samples=1000), block_sd=0.005)
    tail = replace(row("ttft.p99"), cost=cost, block_sd=None)
    found = texts(held, free, tail, replace(held, cell=make_cell(prompt=200)))
    below = found.index(f"{REPETITION}{EXPLAINED}")
    assert REPETITION in texts(held)
    assert found[below + 1 : below + 4] == [
        "  p100-o4: TTFT P50 134 (has 100), TPOT P50 no limit (has 1,000)",
        "  p200-o4: TTFT P50 134 (has 100)",
        "",
    ]


def test_gates_that_all_hold_are_green() -> None:
    assert Line("perfsuite: 2 of 2 gates can hold their tolerance", "green") in lines(row(), row("tpot.p50"))


def test_a_gate_that_does_not_hold_is_yellow() -> None:
    found = lines(row(), row("tpot.p50", smallest=0.06, needed=11))
    assert Line("perfsuite: 1 of 2 gates can hold their tolerance", "yellow") in found


@pytest.mark.parametrize(
    ("needed", "told"),
    [
        ([2, 3, 9], "fresh processes that a baseline needs here: 3 for a usual gate, 9 at most"),
        ([2, 3], "fresh processes that a baseline needs here: 2.5 for a usual gate, 3 at most"),
        (
            [4, None, None],
            "fresh processes that a baseline needs here: 4 for a usual gate, 4 at most; "
            "for 2 gates not even 20 would do",
        ),
    ],
)
def test_the_sessions_a_baseline_needs_are_told(needed: Sequence[int | None], told: str) -> None:
    assert texts(*(row(needed=count) for count in needed))[-1] == told


def test_a_tail_that_lacks_samples_is_not_counted_among_those_that_lack_sessions() -> None:
    refused = row("ttft.p99", smallest=None, needed=None, reason="60 samples are too few")
    assert texts(row(), refused)[-1] == "fresh processes that a baseline needs here: 3 for a usual gate, 3 at most"


def test_where_no_number_of_sessions_would_do_none_is_told() -> None:
    assert texts(row(smallest=0.2, needed=None))[-1] == "perfsuite: 0 of 1 gate can hold their tolerance"


def test_unknown_spreads_are_dashes() -> None:
    found = row(smallest=None, needed=None, reason="one session")
    unknown = replace(found, session_sd=None, raw_sd=None, block_sd=None, sessions=1)
    assert texts(unknown)[3].split()[3:] == ["raw", *["-"] * 4, "5.0", "1", "-", "cannot", "gate:", "one", "session"]


def test_each_strategy_has_its_own_table() -> None:
    found = texts(row(prompt=10), row(prompt=50), row(strategy="jit"))
    assert [text for text in found if text.startswith("calibration of ")] == [
        "calibration of eager on tiny: 8 sessions",
        "calibration of jit on tiny: 8 sessions",
    ]


def test_nothing_saved_is_nothing_said() -> None:
    assert lines() == ()
