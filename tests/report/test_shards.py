from dataclasses import replace

import pytest

from perfsuite.core.options import Options
from perfsuite.core.shard import Portion
from perfsuite.report.html.page import page
from perfsuite.report.markdown import markdown
from perfsuite.report.run import Run
from perfsuite.report.shards import shard_line
from tests.builders import make_cell, make_recording

CELL = make_cell()
PORTION = Portion(index=2, count=3, cells=(CELL.id, "eager/tiny/p1-o1"), own=(CELL.id,), code="", run="", versions={})


@pytest.mark.parametrize(
    ("own", "is_judged", "told"),
    [
        (PORTION.own, False, "shard 2/3: 1 of the run's 2 cells"),
        (PORTION.own, True, "shard 2/3: 1 of the run's 2 cells; its verdicts are preliminary, perfsuite merge "),
        ((), True, "shard 2/3: none of the run's 2 cells is in it, nothing was measured"),
    ],
)
def test_a_shard_says_how_much_it_is_and_what_its_verdicts_are(
    own: tuple[str, ...], is_judged: bool, told: str
) -> None:
    assert shard_line(replace(PORTION, own=own), is_judged=is_judged).startswith(told)


@pytest.mark.parametrize("make", [page, markdown])
def test_a_report_of_a_shard_says_that_it_is_one(make: type) -> None:
    run = Run(options=Options(), recordings={CELL: (make_recording(CELL),)}, portion=PORTION)
    words = "shard 2/3: 1 of the run"
    assert words in make(run)
    assert words not in make(replace(run, portion=None))
