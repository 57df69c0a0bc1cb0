from dataclasses import replace

from perfsuite.core.options import Options
from perfsuite.core.verdict import Judgement
from perfsuite.report.properties import properties
from perfsuite.report.run import Run
from tests.builders import make_cell, make_recording, make_roofline, make_verdict

CELL = make_cell()


def test_a_cells_numbers_have_names() -> None:
    recording = replace(make_recording(CELL, n=300), roofline=make_roofline(read_ms=1.0, token_ms=0.01))
    judgement = Judgement(cell=CELL, verdicts=(make_verdict(),))
    found = dict(properties(CELL, Run(options=Options(), recordings={CELL: (recording,)}, judgements=(judgement,))))
    assert found["cell"] == "eager/tiny/p100-o4"
    assert (found["ttft_ms.p50"], found["ttft_ms.p99"], found["ttft.n"]) == ("40.0000", "40.0000", "300")
    assert (found["tpot_ms.p50"], found["startup_s"], found["memory_bytes"]) == ("2.0000", "2.500", str(100 * 2**20))
    assert found["ttft.of_limit"] == "0.0250"
    assert (found["ttft.p50.verdict"], found["ttft.p50.change"]) == ("regressed", "+0.1630")


def test_a_quantile_below_its_floor_is_absent() -> None:
    found = dict(properties(CELL, Run(options=Options(), recordings={CELL: (make_recording(CELL, n=20),)})))
    assert "ttft_ms.p99" not in found


def test_of_a_cell_that_was_not_measured_nothing_is_said() -> None:
    assert properties(CELL, Run(options=Options(), recordings={})) == ()
