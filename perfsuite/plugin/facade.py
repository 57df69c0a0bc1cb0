"""Owns what a test sees of a measured cell: its numbers, and its judgement."""

from typing import NoReturn

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.core.matrix import Cell
from perfsuite.core.metrics import SERIES, Metric, parse_metric
from perfsuite.core.recording import Recording
from perfsuite.core.resources import RESOURCES
from perfsuite.core.statistics import summarize
from perfsuite.core.summary import Summary
from perfsuite.core.units import to_ms
from perfsuite.core.verdict import Judgement, Verdict
from perfsuite.report.terminal import verdict_line


def _metric(name: str) -> Metric:
    """The metric of that name; a name that is none fails the test in one line."""
    try:
        return parse_metric(name, where="test")
    except OptionError as error:
        _fail(str(error))


def _named(name: str) -> tuple[str, str]:
    """The key and the label of a metric."""
    metric = _metric(name)
    return metric.key, metric.label


def _fail(line: str) -> NoReturn:
    """Fail the test with this line and no traceback: it is about the numbers, not about the test's code."""
    pytest.fail(line, pytrace=False)


class MeasuredCell:
    """The recordings of one cell, one per session, and shorthand for the numbers in them."""

    def __init__(self, cell: Cell, recordings: tuple[Recording, ...], problem: str | None = None) -> None:
        self.cell = cell
        self.recordings = recordings
        self._problem = problem

    def summary(self, series: str) -> Summary:
        """All sessions' values of 'ttft', 'tpot', 'itl', 'e2e', … together, in nanoseconds.

        The test fails if there are none, or if the cell's requests broke: a number of the survivors says nothing.
        """
        if self._problem:
            _fail(f"{self.cell.id}: {self._problem}")
        if series not in SERIES:
            _fail(f"test: {series!r} is not a series; choose from {', '.join(SERIES)}")
        values = [value for recording in self.recordings for value in SERIES[series].values(recording)]
        if not values:
            _fail(f"{self.cell.id}: there is no {SERIES[series].label} here")
        return summarize(values, together=max(recording.together for recording in self.recordings))

    def milliseconds(self, metric: str) -> float:
        """One number, by its name: 'ttft.p50', 'e2e.mean'; the test fails if there are too few samples for it."""
        wanted = _metric(metric)
        summary = self.summary(wanted.series)
        if wanted.statistic.probability is None:
            return to_ms(summary.mean)
        quantile = getattr(summary, wanted.statistic.value)
        if quantile.value is None:
            _fail(f"{self.cell.id}: {wanted.label} needs {quantile.missing} samples more; raise --perf-samples")
        return to_ms(quantile.value)


class CellGate:
    """The judgement of one cell against its baseline, to be asserted by a test."""

    def __init__(self, judgement: Judgement, *, strict: bool, saving: bool, save_error: str | None) -> None:
        self.judgement = judgement
        self._strict = strict
        self._saving = saving
        self._save_error = save_error

    def require(self, *metrics: str) -> None:
        """Fail the test if one of these ('ttft.p50', 'memory') regressed or is invalid, skip it if one is undecided.

        Under --perf-strict the undecided fails, too. While a baseline is saved nothing is compared: then only what
        kept it from being saved fails. A metric that the run takes out of the gate ('ttft.p99=off'), or that has no
        values, is skipped.
        """
        wanted = [(name, RESOURCES[name].label) if name in RESOURCES else _named(name) for name in metrics]
        if self._save_error:
            _fail(self._save_error)
        if not self._saving:
            for key, label in wanted:
                self._require(key, label)

    def _require(self, key: str, label: str) -> None:
        verdict = self.judgement.verdict(key)
        if verdict is None:
            pytest.skip(f"{self.judgement.cell.id}: {label} is not gated here or has no values")
        line = verdict_line(self.judgement.cell, verdict)
        if verdict.outcome.fails:
            _fail(line)
        if not verdict.outcome.is_decided:
            self._leave_open(verdict, line)

    def _leave_open(self, verdict: Verdict, line: str) -> None:
        """Not compared is not passed: a failure in a strict run, else a skip; the report has the whole line."""
        if self._strict:
            _fail(line)
        pytest.skip(f"{self.judgement.cell.id}: {verdict.outcome.value}: {verdict.reason}")
