"""Appending to and reading from a history, in both kinds of database."""

import multiprocessing
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")

from perfsuite.core.entry import RunEntry, run_entry
from perfsuite.core.errors import HistoryError, OptionError
from perfsuite.core.sample import Failure
from perfsuite.core.verdict import Judgement
from perfsuite.history import open_history
from perfsuite.history.store import HistoryStore
from tests.builders import make_cell, make_recording, make_verdict
from tests.postgres import PASSWORD, QUOTED, Server

CELL, DEVICE = "eager/tiny/p100-o4", "nvidia-h100-80gb-hbm3"
WRITERS, RUNS_EACH = 8, 5


def entry(run_id: str, **recording: object) -> RunEntry:
    recordings = [make_recording(session=session, n=60, **recording) for session in range(3)]  # type: ignore[arg-type]
    judgement = Judgement(cell=make_cell(), verdicts=(make_verdict(),))
    return run_entry(recordings, [judgement], run_id=run_id, commit="abc", perfsuite="0.1", kind="judged")


def history(url: str) -> HistoryStore:
    return open_history(url, where="--perf-history")


def write_runs(url: str, writer: int) -> None:
    store = history(url)
    store.check()
    for number in range(RUNS_EACH):
        assert store.append(entry(f"{writer}-{number}"))


def test_what_is_appended_can_be_read(url: str) -> None:
    store = history(url)
    store.check()
    assert store.append(entry("a", ttft_ms=40))
    assert store.cells() == ((CELL, DEVICE),)
    assert {"ttft.p50", "startup"} <= set(store.metrics(CELL))
    found = store.sightings(CELL, DEVICE, "ttft.p50")
    assert [(each.run, each.started_at, each.commit, each.value) for each in found] == [
        ("a", f"2026-01-02T03:04:0{session}Z", "abc", 40_000_000) for session in range(3)
    ]
    assert found[0].environment["torch"] == "2.11.0"


def test_a_run_is_added_once(url: str) -> None:
    store = history(url)
    assert (store.append(entry("a")), store.append(entry("a"))) == (True, False)
    assert len(store.sightings(CELL, DEVICE, "ttft.p50")) == 3


def test_slowed_and_broken_sessions_are_kept_but_no_part_of_a_trend(url: str) -> None:
    store = history(url)
    store.append(entry("slowed", injected_slowdown=0.1))
    store.append(entry("broken", failures=(Failure(stage="worker", message="gone"),)))
    assert store.cells() == ((CELL, DEVICE),)
    assert store.sightings(CELL, DEVICE, "ttft.p50") == ()


def test_text_that_no_database_takes_is_kept_escaped(url: str) -> None:
    store = history(url)
    failure = Failure(stage="worker", message="half \ud800, nothing \0")
    assert store.append(entry("broken", failures=(failure,)))
    assert store.append(replace(entry("b"), commit="\ud800"))
    assert {each.commit for each in store.sightings(CELL, DEVICE, "ttft.p50")} == {"\\ud800"}


def test_a_number_that_no_column_takes_is_one_line_and_adds_nothing(url: str) -> None:
    store, whole = history(url), entry("a")
    with pytest.raises(HistoryError, match=r"too large|out of range") as caught:
        store.append(replace(whole, sessions=(replace(whole.sessions[0], session=2**63),)))
    assert len(str(caught.value).splitlines()) == 1
    assert store.append(whole)


def test_a_name_that_no_file_can_have_is_one_line() -> None:
    with pytest.raises(OptionError, match=r": 'a\\x00b': .*embedded null"):
        history("a\0b")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("perfsuite_sessions SET environment = '[]'", r"run a\.environment: expected an object, found \[\]$"),
        (f"perfsuite_sessions SET environment = '{'[' * 5000 + ']' * 5000}'", "nested too deeply$"),
        ("perfsuite_values SET value = 'fast'", r"run a\.value: expected float, found 'fast'$"),
        ("perfsuite_values SET value = 9e999", r"run a\.value: expected a finite number, found inf$"),
    ],
)
def test_a_row_that_somebody_else_wrote_is_one_line(tmp_path: Path, change: str, told: str) -> None:
    store = history(str(tmp_path / "history.db"))
    store.append(entry("a"))
    with closing(sqlite3.connect(tmp_path / "history.db")) as connection, connection:
        connection.execute(f"UPDATE {change}")
    with pytest.raises(HistoryError, match=told):
        store.sightings(CELL, DEVICE, "ttft.p50")


def test_trying_leaves_nothing_behind(url: str) -> None:
    history(url).check()
    with pytest.raises(HistoryError, match="there is no history of perfsuite in this database"):
        history(url).cells()


def test_eight_processes_that_write_at_once_lose_nothing(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_runs, args=(url, writer)) for writer in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=240)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    found = history(url).sightings(CELL, DEVICE, "ttft.p50")
    runs = {f"{writer}-{number}" for writer in range(WRITERS) for number in range(RUNS_EACH)}
    assert {each.run for each in found} == runs
    assert len(found) == 3 * len(runs)


def test_a_run_is_there_whole_or_not_at_all(url: str) -> None:
    twice = entry("a")
    broken = replace(twice, sessions=(*twice.sessions, twice.sessions[0]))  # the same key twice
    with pytest.raises(HistoryError):
        history(url).append(broken)
    history(url).append(entry("b"))
    assert {each.run for each in history(url).sightings(CELL, DEVICE, "ttft.p50")} == {"b"}


def test_another_layout_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    history(str(path)).append(entry("a"))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE perfsuite_layout SET number = 7")
    connection.close()
    for act in (history(str(path)).check, history(str(path)).cells, lambda: history(str(path)).append(entry("b"))):
        with pytest.raises(
            HistoryError, match=r"history.db: perfsuite_layout.number: 7; this perfsuite reads 1; upgrade"
        ):
            act()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no database, but long enough to be looked at " * 100)
    with pytest.raises(HistoryError, match=r"notes.txt: file is not a database"):
        history(str(path)).check()
    assert path.read_text().startswith("no database")


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HistoryError, match=r"Not a directory|File exists"):
        history(f"{tmp_path}/file/history.db").check()
    with pytest.raises(HistoryError, match="unable to open database file"):
        history(str(tmp_path)).check()


def test_reading_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="there is no such history"):
        history(str(tmp_path / "none.db")).cells()
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_password_is_not_repeated(postgres: Server) -> None:
    with pytest.raises(HistoryError) as caught:
        history(postgres.url("postgres", "falsch")).check()
    assert "password authentication failed" in str(caught.value)
    assert "falsch" not in str(caught.value)


def test_a_user_who_may_not_write_is_told_so(postgres: Server) -> None:
    url = postgres.create("readonly")
    sql = "REVOKE ALL ON SCHEMA public FROM PUBLIC; CREATE ROLE guest LOGIN PASSWORD 'x'"
    postgres.run("psql", "--host", str(postgres.folder), "--username", "perf", "readonly", "-c", sql)
    guest = url.replace(f"perf:{QUOTED}", "guest:x")
    with pytest.raises(HistoryError, match=r"postgresql://guest:\*\*\*@/readonly.*(permission denied|no schema)"):
        history(guest).check()


def test_a_server_that_is_gone_is_told_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(HistoryError) as caught:
        history(f"postgresql://perf:{QUOTED}@/perf?host={tmp_path}").check()
    assert str(caught.value).startswith("postgresql://perf:***@/perf?host=")
    assert len(str(caught.value).splitlines()) == 1
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mysql://ci:geheim@db/perf", "'mysql' is not a kind of database that is known; write a file's name, sqlite"),
        ("postgresql://ci:geheim@db:port/perf", "not a URL of a database"),
        ("postgresql://ci:ge@heim@db/perf", "an '@' in a user's name or a password is written %40"),
        ("postgresql://ci:geheim\udcff@db/perf", "not UTF-8 text; name a file or a database whose name is"),
        ("history\udcff.db", "not UTF-8 text; name a file or a database whose name is"),
        ("sqlite://", "a history is kept in a file"),
        ("sqlite:///:memory:", "a history is kept in a file"),
    ],
)
def test_what_is_no_url_is_refused_without_repeating_a_password(text: str, told: str) -> None:
    with pytest.raises(OptionError) as caught:
        open_history(text, where="--perf-history")
    assert str(caught.value).startswith(f"--perf-history: {told}")
    assert "heim" not in str(caught.value)


def test_without_sqlalchemy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "perfsuite.history.store", None)
    with pytest.raises(OptionError, match=r"needs SQLAlchemy; pip install 'perfsuite\[history\]'"):
        open_history("history.db", where="--perf-history")


def test_a_file_below_the_root_folder_is_meant(tmp_path: Path) -> None:
    for text in ("below/history.db", "sqlite:///below/history.db"):
        store = open_history(text, where="--perf-history", root=tmp_path)
        assert store.shown == f"sqlite:///{tmp_path}/below/history.db"
