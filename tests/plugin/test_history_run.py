"""`pytest --perf --perf-history URL`, and what becomes of a run whose database is gone."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfsuite import cli
from tests.plugin.conftest import Run
from tests.postgres import PASSWORD, QUOTED, Server, remove, start_server

pytestmark = pytest.mark.slow

pytest.importorskip("sqlalchemy")
pytest.importorskip(
    "psycopg"
)  # before any test: pytester forgets what is imported in one, and its C part cannot be twice

CELL = "fake/tiny/p10-o4"
STOPS_THE_SERVER = """
import os, signal

def pytest_runtest_setup(item):
    try:
        os.kill(int(open({pid!r}).readline()), signal.SIGQUIT)
    except OSError:
        pass  # it is gone since the first test
"""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of this test alone, which may be stopped; it is started again to be removed."""
    server = start_server()
    yield server
    if not (server.folder / "data" / "postmaster.pid").exists():
        server.start()
    remove(server)


def shown(output: str) -> str:
    (line,) = re.findall(r"^--perf-history: .*$", output, re.MULTILINE)
    return str(line)


def test_every_run_joins_the_history(run: Run, project: pytest.Pytester, capsys: pytest.CaptureFixture[str]) -> None:
    run("--save-baseline", "--perf-history=history.db")
    result = run("--perf", "--perf-history=history.db")
    line = shown(result.stdout.str())
    judged = int(line.split()[1])
    assert line == f"--perf-history: {judged} recordings appended to sqlite:///{project.path}/history.db"
    assert cli.main(["trend", CELL, "--history", str(project.path / "history.db")]) == 0
    assert f"{CELL} on scripted: TTFT P50, 2 runs, {8 + judged // 2} sessions" in capsys.readouterr().out


def test_a_slowed_run_is_kept_but_no_part_of_the_trend(run: Run, project: pytest.Pytester) -> None:
    run("--perf", "--perf-history=history.db", "--perf-inject-slowdown=10%")
    assert cli.main(["trend", CELL, "--history", str(project.path / "history.db")]) == 2


def test_the_ini_file_can_name_the_history(run: Run, project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nperf_history = below/history.db")
    run("--perf")
    assert (project.path / "below" / "history.db").stat().st_size > 0


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://ci:geheim@127.0.0.1:1/perf", "--perf-history: postgresql://ci:***@127.0.0.1:1/perf: *refused*"),
        ("mysql://ci:geheim@db/perf", "--perf-history: 'mysql' is not a kind of database that is known*"),
        ("test_speed.py/history.db", "--perf-history: sqlite:///*/test_speed.py/history.db: *"),
    ],
)
def test_a_history_that_cannot_be_written_is_told_before_measuring(
    url: str, told: str, run: Run, project: pytest.Pytester
) -> None:
    result = run("--perf", f"--perf-history={url}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {told}"])
    assert "geheim" not in result.stdout.str() + result.stderr.str()
    assert not (project.path / ".perfsuite").exists()


def test_a_database_that_goes_down_costs_nothing_and_the_line_says_how_to_import(
    run: Run, project: pytest.Pytester, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.create("history")
    project.makeconftest(STOPS_THE_SERVER.format(pid=str(server.folder / "data" / "postmaster.pid")))
    result = run("--perf", "--perf-history", url, "--perf-json=out.json")
    assert result.ret == 0
    line = shown(result.stdout.str())
    file, command = re.findall(r"is kept in (\S+); import it with: (.*)$", line)[0]
    assert json.loads((project.path / "out.json").read_text())["cells"]
    (server.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
    server.start()
    words = [url if "***" in word else word for word in shlex.split(command)]
    assert words[:3] == ["perfsuite", "history", "import"]
    for said in ("added to", "was already in"):
        assert cli.main(words[1:]) == 0
        assert f"recordings: {said} postgresql://perf:***@/history?host=" in capsys.readouterr().out
    assert cli.main(["trend", CELL, "--history", url]) == 0
    assert Path(file).parent == project.path / ".perfsuite" / "history"
    everything = result.stdout.str() + result.stderr.str()
    everything += "".join(path.read_text() for path in project.path.rglob("*.json"))
    assert PASSWORD not in everything
    assert QUOTED not in everything


def test_no_command_that_is_offered_holds_the_password_or_appends_again(
    run: Run, project: pytest.Pytester, server: Server
) -> None:
    url = server.create("history")
    run("--save-baseline")
    result = run("--perf", "--perf-history", url, "--perf-inject-slowdown=10%")
    assert result.ret == 1
    assert "reproduce: pytest --perf " in result.stdout.str()
    assert not re.search(r"(reproduce|intended): .*perf-history", result.stdout.str())
    kept = "".join(path.read_text() for path in (project.path / ".perfsuite").rglob("run.json"))
    for text in (result.stdout.str(), result.stderr.str(), kept):
        assert PASSWORD not in text
        assert QUOTED not in text


def test_an_interrupted_run_is_appended_when_it_is_resumed(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        from perfsuite.fleet import place

        def interrupted(job, *others, original=place.run_session):
            if job.session == 1:
                raise KeyboardInterrupt
            return original(job, *others)

        place.run_session = interrupted
        """
    )
    cut = run("--save-baseline", "--perf-history=history.db")
    assert "--perf-history: an interrupted run is not appended; resume it" in cut.stdout.str()
    (project.path / "conftest.py").unlink()
    resumed = run("--save-baseline", "--perf-history=history.db", "--perf-resume")
    assert "16 recordings appended" in shown(resumed.stdout.str())
