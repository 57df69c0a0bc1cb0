"""Owns the progress line: rewritten on a terminal; elsewhere, in CI logs, one line a cell; nothing under -q."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from perfsuite.core.recording import Recording
from perfsuite.core.units import format_seconds
from perfsuite.measure.clock import HostClock
from perfsuite.measure.session import Progress, SessionJob
from perfsuite.report.progress import beside, cell_line, expected_ns, progress_line, title

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter


@dataclass(slots=True)
class _Running:
    """A session under way: since when, since when after that it measures, and its last line."""

    began_ns: int
    place: str = ""
    began_measuring_ns: int | None = None
    line: str = ""


class ProgressDisplay:
    """Tells people that something is going on; says nothing under -q."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._clock = HostClock()
        self._job: SessionJob | None = None
        self._latest = _Running(began_ns=0)
        self._running: dict[SessionJob, _Running] = {}
        self._durations_ns: dict[tuple[object, ...], int] = {}

    @property
    def _reporter(self) -> "TerminalReporter | None":
        """Where to write; `None` under -q, or where pytest runs without a terminal."""
        reporter: TerminalReporter | None = self._config.pluginmanager.get_plugin("terminalreporter")
        return reporter if self._config.getoption("verbose", default=0) >= 0 else None

    def said(self, text: str) -> None:
        """A line about what takes time apart from sessions."""
        reporter = self._reporter
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(text)

    def session_began(self, job: SessionJob, place: str = "") -> None:
        """`place` is where it runs, if there are several."""
        self._job = job
        self._latest = self._running[job] = _Running(began_ns=self._clock.now_ns(), place=place)

    def goes_on(self, job: SessionJob, progress: Progress) -> None:
        """The progress of one of several sessions that run side by side or take turns."""
        self._job = job
        self.progressed(progress)

    def progressed(self, progress: Progress) -> None:
        """Rewrite the line; off a terminal only what a session found is worth one."""
        reporter = self._reporter
        if reporter is None or self._job is None or not reporter.isatty:
            return
        running = self._running.get(self._job, self._latest)
        elapsed_ns = self._clock.now_ns() - running.began_ns
        if progress.stage == "measure" and running.began_measuring_ns is None:
            running.began_measuring_ns = elapsed_ns
        before_ns = self._durations_ns.get(_kind(self._job))
        expected = expected_ns(progress, running.began_measuring_ns, elapsed_ns, before_ns)
        running.line = progress_line(self._job, progress, elapsed_ns, expected, running.place)
        columns = shutil.get_terminal_size().columns - 1
        reporter.rewrite(beside([each.line for each in self._shown(running)], columns), erase=True)

    def _shown(self, running: _Running) -> list[_Running]:
        """Every session under way that has something to show; of those that take turns the one that goes on."""
        return [each for each in self._running.values() if each.line] or [running]

    def session_ended(self, words: str, recordings: Iterable[Recording] = (), job: SessionJob | None = None) -> None:
        """Say how the session ended and how long it took; off a terminal what it found of each cell before.

        `job` is which of several sessions; else it is the one that began.
        """
        self._job = job or self._job
        if self._job is None:
            return
        running = self._running.pop(self._job, self._latest)
        elapsed_ns = self._clock.now_ns() - running.began_ns
        self._durations_ns[_kind(self._job)] = elapsed_ns
        reporter = self._reporter
        if reporter is None:
            return
        line = f"{title(self._job, running.place)}: {words} in {format_seconds(elapsed_ns)}"
        if reporter.isatty:
            reporter.rewrite(line, erase=True)
            reporter.write_line("")
            return
        reporter.ensure_newline()
        for recording in recordings:
            reporter.write_line(cell_line(recording))
        reporter.write_line(line)


def _kind(job: SessionJob) -> tuple[object, ...]:
    """Sessions that take about as long as each other."""
    return (job.reference, job.cells[0].model, len(job.cells), job.measure.samples)
