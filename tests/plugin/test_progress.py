"""Progress on a terminal, in a log and under -q, through the command line."""

import os
import pty
import re
import subprocess
import sys

import pytest

from tests.plugin.conftest import SMALL, Run

PERF = ("-p", "perfsuite.plugin", "--perf", *SMALL)


def test_a_log_has_a_line_a_cell_and_one_a_session(run: Run) -> None:
    result = run("--perf")
    result.stdout.fnmatch_lines(
        [
            "perf fake/tiny/p10-o4 session 1: TTFT P50 * ± * ms, n=60",
            "perf fake/tiny/p20-o4 session 1: TTFT P50 * ± * ms, n=60",
            "perf fake/tiny session 1, 2 cells: done in *",
        ]
    )
    result.stdout.no_fnmatch_line("*measure*/60*")


def test_a_log_is_the_same_where_output_is_not_captured(run: Run) -> None:
    result = run("--perf", "-s")
    result.stdout.fnmatch_lines(
        ["perf fake/tiny/p10-o4 session 1: TTFT P50 *", "perf fake/tiny session 1, 2 cells: done*"]
    )


def test_quiet_says_nothing_of_progress(run: Run) -> None:
    run("--perf", "-q").stdout.no_fnmatch_line("perf fake/tiny*")


def on_terminal(project: pytest.Pytester, *arguments: str) -> str:
    """What pytest writes to a terminal of a hundred columns."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pytest", *PERF, *arguments]
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    process = subprocess.Popen(command, cwd=project.path, stdout=theirs, stderr=theirs, stdin=theirs, env=environment)
    os.close(theirs)
    written = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        written += piece
    os.close(ours)
    process.wait()
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", written.decode(errors="replace"))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
@pytest.mark.parametrize("arguments", [(), ("-s",)], ids=["captured", "not captured"])
def test_a_terminal_has_one_line_that_is_rewritten(project: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    written = on_terminal(project, *arguments)
    rewritten = [line.rstrip() for line in written.split("\r") if "perf fake/tiny" in line]
    assert any(
        re.search(r"p10-o4 measure 20/60, TTFT P50 \S+ ± \S+ ms, \S+ s of about \S+ s$", line) for line in rewritten
    )
    assert all(len(line.splitlines()[0]) < 100 for line in rewritten)
    assert "n=60" not in written


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
def test_a_quiet_terminal_shows_no_progress(project: pytest.Pytester) -> None:
    assert "perf fake/tiny session" not in on_terminal(project, "-q")
