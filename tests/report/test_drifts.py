"""What is said of a level that drifted."""

from perfsuite.core.drift import Drift
from perfsuite.report.drifts import drifts
from perfsuite.report.layout import Line
from tests.builders import make_cell

DRIFT = Drift(
    cell=make_cell(),
    metric="ttft.p50",
    day=14,
    days=22,
    session=21,
    sessions=29,
    since="2026-03-02T08:00:00Z",
    change=0.0234,
    chance=0.00005,
)


def test_a_drift_is_this_line() -> None:
    assert drifts([DRIFT], lambda cell: f"pytest --save-baseline -k '[{cell.id}'") == (
        Line(
            "drift: eager/tiny/p100-o4: TTFT P50 +2.3 % since 2026-03-02 (day 14 of 22, session 21 of 29); chance "
            "alone does so in 1 of 20,000 histories; no verdict: look for what changed then; if it is meant, take the "
            "new level with: pytest --save-baseline -k '[eager/tiny/p100-o4'; if the machine has such days, add "
            "--perf-baseline-append",
            "yellow",
        ),
    )


def test_no_drift_is_no_line() -> None:
    assert drifts([], lambda cell: "") == ()
