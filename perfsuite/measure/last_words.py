"""Owns what is told of a worker process that ended without its say: how it went, and what it has written last."""

import os
import signal
import subprocess
from typing import IO

from perfsuite.core.units import format_seconds
from perfsuite.measure.session import Progress, SessionJob

LAST_OUTPUT_CHARACTERS, KEPT_OUTPUT_BYTES = 300, 65_536


def death(process: "subprocess.Popen[str]", log: IO[bytes], last: Progress, job: SessionJob, hung: bool) -> str:
    """One line on a worker that ended, or was ended as it `hung`, before it had told the end of its session."""
    if hung:
        silence_ns = job.measure.silence_of(last.stage)
        cause = f"said nothing for {format_seconds(silence_ns)} (--perf-timeout) and was ended"
    else:
        code = process.wait()
        cause = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    words = _last_words(log)
    return f"the worker process {cause} during {last.stage!r}" + (f"; its last output: {words}" if words else "")


def output(log: IO[bytes]) -> str:
    """The end of what the worker and its children have written."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - KEPT_OUTPUT_BYTES))
    return log.read().decode(errors="replace")


def _last_words(log: IO[bytes]) -> str:
    lines = [line.strip() for line in output(log).splitlines() if line.strip()]
    return lines[-1][-LAST_OUTPUT_CHARACTERS:] if lines else ""
