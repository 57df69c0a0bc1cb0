"""Owns what a test sees of a measured cell: its numbers, and its judgement."""

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import SERIES, parse_metric
from perfsuite.core.recording import Recording
from perfsuite.core.statistics import summarize
from perfsuite.core.summary import Summary
from perfsuite.core.units import to_ms
from perfsuite.core.verdict import Judgement, Outcome
from perfsuite.report.terminal import verdict_line


class MeasuredCell:
    """The recordings of one cell, one per session, and shorthand for the numbers in them."""

    def __init__(self, cell: Cell, recordings: tuple[Recording, ...]) -> None:
        self.cell = cell
        self.recordings = recordings

    def summary(self, series: str) -> Summary:
        """All sessions' values of 'ttft', 'tpot', 'itl', 'e2e', … together, in nanoseconds."""
        if series not in SERIES:
            raise OptionError(f"{series!r} is not a series; choose from {', '.join(SERIES)}")
        values = [value for recording in self.recordings for value in SERIES[series].values(recording)]
        if not values:
            raise OptionError(f"{self.cell.id}: there is no {SERIES[series].label} here")
        return summarize(values)

    def milliseconds(self, metric: str) -> float:
        """One number, by its name: 'ttft.p50', 'e2e.mean'; OptionError if there are too few samples for it."""
        wanted = parse_metric(metric, where="milliseconds()")
        summary = self.summary(wanted.series)
        if wanted.statistic.probability is None:
            return to_ms(summary.mean)
        quantile = getattr(summary, wanted.statistic.value)
        if quantile.value is None:
            raise OptionError(
                f"{self.cell.id}: {wanted.label} needs {quantile.missing} samples more; raise --perf-samples"
            )
        return to_ms(quantile.value)


class CellGate:
    """The judgement of one cell against its baseline, to be asserted by a test."""

    def __init__(self, judgement: Judgement, *, strict: bool, saving: bool, save_error: str | None) -> None:
        self.judgement = judgement
        self._strict = strict
        self._saving = saving
        self._save_error = save_error

    def require(self, *metrics: str) -> None:
        """Fail the test if one of these metrics ('ttft.p50') regressed or is invalid, skip it if one is undecided.

        Under --perf-strict the undecided fails, too. While a baseline is saved nothing is compared: then only what
        kept it from being saved fails.
        """
        if self._save_error:
            pytest.fail(self._save_error, pytrace=False)
        for metric in metrics:
            self._require(metric)

    def _require(self, name: str) -> None:
        metric = parse_metric(name, where="require()")
        verdict = self.judgement.verdict(metric.key)
        if verdict is None:
            pytest.skip(f"{self.judgement.cell.id}: {metric.label} is not gated here or has no values")
        line = verdict_line(self.judgement.cell, verdict)
        if verdict.outcome is Outcome.INVALID or (verdict.outcome.fails and not self._saving):
            pytest.fail(line, pytrace=False)
        if not verdict.outcome.is_decided and not self._saving:
            (pytest.fail if self._strict else pytest.skip)(line)
