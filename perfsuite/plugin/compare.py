"""Owns what a test sees of two strategies of one run: a ratio gate, without any stored baseline."""

from dataclasses import replace

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import Metric
from perfsuite.core.ratio import Ratio, check_factor, ratio_of
from perfsuite.core.verdict import Outcome
from perfsuite.plugin.campaign import Campaign
from perfsuite.plugin.facade import fail, failure, metric_named
from perfsuite.report.ratios import ratio_line, remedy


class CellComparison:
    """One cell beside the same model and workload under another strategy."""

    def __init__(self, campaign: Campaign, cell: Cell) -> None:
        self.cell = cell
        self._campaign = campaign

    def ratio(self, metric: str, than: str) -> Ratio:
        """How many times faster this cell is than the other strategy's; the test fails if one has no numbers."""
        return self._ratio(metric_named(metric, where="perf_compare"), than)

    def require(self, metric: str, *, than: str, at_least: float) -> None:
        """Fail the test if the whole interval of the ratio is below `at_least`, skip it if that is undecided.

        Under --perf-strict the undecided fails, too. A strategy is not compared with itself, and nothing while a
        baseline is saved.
        """
        wanted, factor = metric_named(metric, where="perf_compare"), _factor(at_least)
        if self.cell.strategy == than:
            pytest.skip(f"{self.cell.id}: not compared with itself")
        if self._campaign.options.save_baseline:
            return
        found = self._ratio(wanted, than)
        line, outcome = ratio_line(self.cell.id, wanted, than, found, factor), found.outcome(factor)
        if outcome is Outcome.REGRESSED:
            fail(line)
        if outcome is Outcome.INCONCLUSIVE:
            self._leave_open(f"{line}: {outcome.value}; {remedy(found)}")

    def _leave_open(self, line: str) -> None:
        if self._campaign.options.gate.strict:
            fail(line)
        pytest.skip(line)

    def _ratio(self, metric: Metric, than: str) -> Ratio:
        other = self._other(than)
        for cell in (self.cell, other):
            problem = self._campaign.problem(cell)
            if problem:
                fail(f"{cell.id}: {problem}")
        found = ratio_of(metric, self._campaign.recordings(self.cell), self._campaign.recordings(other))
        if found is None:
            fail(f"{self.cell.id}: there is no {metric.label} here or in {other.id}")
        return found

    def _other(self, than: str) -> Cell:
        other = replace(self.cell, strategy=than)
        reason = self._campaign.unavailable.get(other)
        if reason:
            self._leave_open(f"{other.id}: {reason}")
        if other not in self._campaign.cells:
            fail(
                f"perf_compare: {other.id} is not measured in this run; name it with --perf-strategy or in the test's "
                "marker, beside the other one"
            )
        return other


def _factor(at_least: float) -> float:
    try:
        return check_factor(at_least)
    except OptionError as error:
        raise failure(str(error)) from None
