"""The commands that the command line offers for a cell."""

from perfsuite.cli.measuring import offered
from tests.builders import make_cell


def test_tolerances_of_its_own_are_those_of_the_commands_it_offers() -> None:
    measured_by = {
        "eager/tiny/p100-o4": ("pytest --perf --perf-tolerance ttft.p50=50% --perf-tolerance=memory=off", "")
    }
    cell = make_cell()
    assert offered(measured_by).reproduce(cell).endswith("memory=off")
    assert offered(measured_by, "").reproduce(cell) == "pytest --perf"
    assert offered(measured_by, "ttft.p50=2%").reproduce(cell) == "pytest --perf --perf-tolerance ttft.p50=2%"
