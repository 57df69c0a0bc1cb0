"""Owns the progress line: which session, which cell, how far; rewritten on a terminal, one line a session elsewhere."""

from typing import TYPE_CHECKING

import pytest

from perfsuite.core.units import format_seconds
from perfsuite.measure.clock import HostClock
from perfsuite.measure.session import Progress, SessionJob

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter


class ProgressDisplay:
    """Tells people that something is going on; says nothing under -q."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._clock = HostClock()
        self._began_ns = 0
        self._job: SessionJob | None = None

    @property
    def _reporter(self) -> "TerminalReporter | None":
        """Where to write; `None` under -q, or where pytest runs without a terminal."""
        reporter: TerminalReporter | None = self._config.pluginmanager.get_plugin("terminalreporter")
        return reporter if self._config.getoption("verbose", default=0) >= 0 else None

    def session_began(self, job: SessionJob) -> None:
        self._job, self._began_ns = job, self._clock.now_ns()

    def progressed(self, progress: Progress) -> None:
        """Rewrite the line; off a terminal only the end of a session is worth a line."""
        reporter = self._reporter
        if reporter is None or self._job is None or not reporter.isatty:
            return
        cell = f" {self._job.cells[progress.cell].workload.slug}" if progress.cell is not None else ""
        count = f" {progress.done}/{progress.total}" if progress.total else ""
        reporter.rewrite(f"{self._title(self._job)}: {progress.stage}{cell}{count}", erase=True)

    def session_ended(self, words: str) -> None:
        """Say how the session ended and how long it took."""
        reporter = self._reporter
        if reporter is None or self._job is None:
            return
        line = f"{self._title(self._job)}: {words} in {format_seconds(self._clock.now_ns() - self._began_ns)}"
        reporter.rewrite(line, erase=True) if reporter.isatty else reporter.ensure_newline()
        reporter.write_line("" if reporter.isatty else line)

    def _title(self, job: SessionJob) -> str:
        first = job.cells[0]
        return f"perf {first.strategy_slug}/{first.model.slug} session {job.session + 1}, {len(job.cells)} cells"
