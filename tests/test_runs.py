import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfsuite import runs
from perfsuite.core.codec import decode
from perfsuite.core.errors import BaselineError
from tests.builders import make_cell, make_recording

ARGV = ("--perf", "-k", "eager")


@pytest.fixture(autouse=True)
def minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that goes on by a minute each time it is read."""
    ticks: Iterator[int] = iter(range(10_000))

    def now() -> str:
        hours, minutes = divmod(next(ticks), 60)
        return f"2026-01-02T{hours:02}:{minutes:02}:00Z"

    monkeypatch.setattr(runs, "utc_now", now)


def names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / ".perfsuite" / "runs").iterdir())


def test_a_run_is_a_folder_named_after_its_start_and_its_process(tmp_path: Path) -> None:
    run = runs.start(tmp_path, "d1", ARGV)
    assert run.folder == tmp_path / ".perfsuite" / "runs" / f"20260102T000000Z-{os.getpid()}"


def test_git_does_not_see_the_runs(tmp_path: Path) -> None:
    runs.start(tmp_path, "d1", ARGV)
    assert (tmp_path / ".perfsuite" / ".gitignore").read_text() == "*\n"


def test_a_run_keeps_what_it_was_asked_for(tmp_path: Path) -> None:
    run = runs.start(tmp_path, "d1", ARGV, ("eager/tiny/p100-o4",))
    assert json.loads((run.folder / "run.json").read_text()) == {
        "argv": ["--perf", "-k", "eager"],
        "cells": ["eager/tiny/p100-o4"],
        "digest": "d1",
        "schema": 3,
    }


def test_two_runs_started_in_one_second_get_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "utc_now", lambda: "2026-01-02T00:00:00Z")
    first, second = runs.start(tmp_path, "d1", ARGV), runs.start(tmp_path, "d1", ARGV)
    assert first.folder != second.folder
    assert runs.latest_unfinished(tmp_path, "d1") == second


def test_recordings_come_back_in_the_order_they_were_added(tmp_path: Path) -> None:
    run = runs.start(tmp_path, "d1", ARGV)
    added = [make_recording(session=session, noise=0.1) for session in range(12)]
    for recording in added:
        run.add((recording,))
    assert run.recordings() == tuple(added)


def test_a_session_is_one_file_with_all_its_recordings(tmp_path: Path) -> None:
    run = runs.start(tmp_path, "d1", ARGV)
    both = (make_recording(), make_recording(make_cell(prompt=7)))
    assert run.add(both).name == "session-1.json"
    assert run.recordings() == both


def test_a_run_that_was_cut_off_is_found_by_the_same_plan(tmp_path: Path) -> None:
    run = runs.start(tmp_path, "d1", ARGV)
    run.add((make_recording(),))
    found = runs.latest_unfinished(tmp_path, "d1")
    assert found == run
    assert found.recordings() == (make_recording(),)


def test_the_newest_of_several_is_found(tmp_path: Path) -> None:
    _, newest = runs.start(tmp_path, "d1", ARGV), runs.start(tmp_path, "d1", ARGV)
    assert runs.latest_unfinished(tmp_path, "d1") == newest


def test_a_run_of_another_plan_is_not_resumed(tmp_path: Path) -> None:
    runs.start(tmp_path, "d1", ARGV)
    assert runs.latest_unfinished(tmp_path, "d2") is None


def test_a_finished_run_is_not_resumed(tmp_path: Path) -> None:
    run = runs.start(tmp_path, "d1", ARGV)
    run.finish()
    assert run.is_finished
    assert runs.latest_unfinished(tmp_path, "d1") is None


def test_without_any_run_there_is_nothing_to_resume(tmp_path: Path) -> None:
    assert runs.latest_unfinished(tmp_path, "d1") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"digest": "d1"}', "[" * 100_000, '{"schema": ' + "3" * 5000 + "}"])
def test_a_folder_without_a_readable_plan_is_not_resumed(tmp_path: Path, text: str) -> None:
    run = runs.start(tmp_path, "d1", ARGV)
    (run.folder / "run.json").write_text(text)
    assert runs.latest_unfinished(tmp_path, "d1") is None


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[" * 100_000, "nested too deeply"),
        ('{"schema": ' + "3" * 5000 + "}", "it holds a number of thousands of digits"),
        ("{}", "session: lacks recordings, schema"),
        ('{"recordings": [], "schema": 9}', "session: schema 9; this perfsuite reads 3"),
    ],
)
def test_a_broken_session_is_left_out_and_noted(tmp_path: Path, text: str, finding: str) -> None:
    run = runs.start(tmp_path, "d1", ARGV)
    broken = run.add((make_recording(),))
    run.add((make_recording(session=1),))
    broken.write_text(text)
    progress = run.progress()
    assert progress.recordings == (make_recording(session=1),)
    assert progress.notes == (f"{broken}: this session is left out and measured again ({finding})",)


def test_a_workload_that_cannot_be_is_a_broken_session(tmp_path: Path) -> None:
    run = runs.start(tmp_path, "d1", ARGV)
    path = run.add((make_recording(),))
    path.write_text(path.read_text().replace('"prompt_tokens": 100', '"prompt_tokens": 0'))
    assert "prompt_tokens: 0 is not allowed" in run.progress().notes[0]


def test_a_broken_session_is_not_overwritten_by_the_next(tmp_path: Path) -> None:
    run = runs.start(tmp_path, "d1", ARGV)
    run.add((make_recording(),)).write_text("{")
    assert run.add((make_recording(session=1),)).name == "session-2.json"


def test_foreign_files_in_a_run_are_no_sessions(tmp_path: Path) -> None:
    run = runs.start(tmp_path, "d1", ARGV)
    for name in ("session-x.json", "session-.json", ".session-1.json.7.tmp", "notes.txt"):
        (run.folder / name).touch()
    assert run.progress() == runs.Progress(recordings=(), notes=())


def test_the_last_ten_finished_runs_are_kept(tmp_path: Path) -> None:
    started = [runs.start(tmp_path, "d1", ARGV) for _ in range(12)]
    for run in started:
        run.finish()
    assert names(tmp_path) == [run.folder.name for run in started[2:]]


def test_finishing_many_runs_removes_no_unfinished_one(tmp_path: Path) -> None:
    open_run = runs.start(tmp_path, "d1", ARGV)
    for _ in range(12):
        runs.start(tmp_path, "d2", ARGV).finish()
    assert runs.latest_unfinished(tmp_path, "d1") == open_run


def test_unfinished_runs_do_not_pile_up_for_ever(tmp_path: Path) -> None:
    for _ in range(15):
        runs.start(tmp_path, "d1", ARGV)
    runs.start(tmp_path, "d2", ARGV).finish()
    assert len(names(tmp_path)) == 10 + 1


def test_a_full_disk_is_one_line_and_leaves_no_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = runs.start(tmp_path, "d1", ARGV)
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(BaselineError) as caught:
        run.add((make_recording(),))
    assert str(caught.value) == (
        f"{run.folder / 'session-1.json'}: the run cannot be written (No space left on device); "
        "make room or fix the folder's rights"
    )
    assert sorted(path.name for path in run.folder.iterdir()) == ["run.json"]


def test_a_root_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".perfsuite").write_text("")
    with pytest.raises(BaselineError, match="the run cannot be written"):
        runs.start(tmp_path, "d1", ARGV)


def test_a_twin_session_is_kept_with_the_samples_of_both_arms(tmp_path: Path) -> None:
    run = runs.start(tmp_path, "d1", ARGV)
    old, new = make_recording(noise=0.1, seed=1), make_recording(noise=0.1, seed=2)
    paths = [run.add_pair(runs.Pair(arms=("main", name), old=(old,), new=(new,))) for name in ("main", "here")]
    assert [path.name for path in paths] == ["pair-1.json", "pair-2.json"]
    found = decode(runs.Pair, json.loads(paths[1].read_text()), where="pair")
    assert found == runs.Pair(arms=("main", "here"), old=(old,), new=(new,))
    assert run.recordings() == ()
