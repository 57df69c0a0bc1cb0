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


def metric_named(name: str, *, where: str = "test") -> Metric:
    """The metric of that name; a name that is none fails the test in one line."""
    if not isinstance(name, str):
        fail(f"{where}: {name!r} is not the name of a metric; write for example 'ttft.p50'")
    try:
        return parse_metric(name, where=where)
    except OptionError as error:
        raise failure(str(error)) from None


def _named(name: str) -> tuple[str, str]:
    """The key and the label of a metric or of a resource."""
    if isinstance(name, str) and name in RESOURCES:
        return name, RESOURCES[name].label
    metric = metric_named(name)
    return metric.key, metric.label


def failure(line: str) -> BaseException:
    """What fails a test with this line and no traceback: it is about the numbers, not about the test's code."""
    return pytest.fail.Exception(line, pytrace=False)


def fail(line: str) -> NoReturn:
    """Fail the test with this line."""
    raise failure(line)


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
            fail(f"{self.cell.id}: {self._problem}")
        if series not in SERIES:
            fail(f"test: {series!r} is not a series; choose from {', '.join(SERIES)}")
        values = [value for recording in self.recordings for value in SERIES[series].values(recording)]
        if not values:
            fail(f"{self.cell.id}: there is no {SERIES[series].label} here")
        return summarize(values, together=max(recording.together for recording in self.recordings))

    def milliseconds(self, metric: str) -> float:
        """One number, by its name: 'ttft.p50', 'e2e.mean'; the test fails if there are too few samples for it."""
        wanted = metric_named(metric)
        summary = self.summary(wanted.series)
        if wanted.statistic.probability is None:
            return to_ms(summary.mean)
        quantile = getattr(summary, wanted.statistic.value)
        if quantile.value is None:
            fail(f"{self.cell.id}: {wanted.label} needs {quantile.missing} samples more; raise --perf-samples")
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
        if not metrics:
            fail("test: perf_judgement.require() names no metric; write for example require('ttft.p50')")
        wanted = [_named(name) for name in metrics]
        if self._save_error:
            fail(self._save_error)
        if not self._saving:
            for key, label in wanted:
                self._require(key, label)

    def _require(self, key: str, label: str) -> None:
        verdict = self.judgement.verdict(key)
        if verdict is None:
            pytest.skip(f"{self.judgement.cell.id}: {label} is not gated here or has no values")
        line = verdict_line(self.judgement.cell, verdict)
        if verdict.outcome.fails:
            fail(line)
        if not verdict.outcome.is_decided:
            self._leave_open(verdict, line)

    def _leave_open(self, verdict: Verdict, line: str) -> None:
        """Not compared is not passed: a failure in a strict run, else a skip; the report has the whole line."""
        if self._strict:
            fail(line)
        pytest.skip(f"{self.judgement.cell.id}: {verdict.outcome.value}: {verdict.reason}")
