import errno
import os
from pathlib import Path

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.report.files import append, check_distinct, check_writable, write


def test_a_report_that_cannot_be_written_is_one_line_and_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "report.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OptionError) as caught:
        write(path, "new", "--perf-json")
    assert str(caught.value) == f"--perf-json: {path} cannot be written (No space left on device)"
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_a_path_in_a_folder_that_can_be_made_passes_the_check(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "report.json", "--perf-json")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_fails_the_check(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="is a folder; name a file"):
        check_writable(tmp_path, "--perf-json")


def test_a_path_below_a_file_fails_the_check(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match=r"cannot be written \(Not a directory\); name a file in a folder"):
        check_writable(tmp_path / "file" / "report.json", "--perf-json")


def test_what_others_wrote_to_a_summary_stays(tmp_path: Path) -> None:
    (tmp_path / "summary.md").write_text("theirs\n")
    append(tmp_path / "summary.md", "ours\n", "GITHUB_STEP_SUMMARY")
    assert (tmp_path / "summary.md").read_text() == "theirs\nours\n"


def test_a_summary_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"^GITHUB_STEP_SUMMARY: .*cannot be written \(Is a directory\)$"):
        append(tmp_path, "ours", "GITHUB_STEP_SUMMARY")


def test_two_ways_to_write_one_file_are_one_file(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("a")
    check_distinct({"-o": tmp_path / "a", "--html": tmp_path / "b"})
    for again in (tmp_path / "d" / ".." / "a", tmp_path / "link"):
        with pytest.raises(OptionError, match=r"^-o and --html: two reports in one file; name a file for each$"):
            check_distinct({"--json": tmp_path / "c", "-o": tmp_path / "a", "--html": again})


def test_a_summary_is_added_to_whatever_its_text(tmp_path: Path) -> None:
    append(tmp_path / "summary", "\ud800", "GITHUB_STEP_SUMMARY")
    assert (tmp_path / "summary").read_text() == "\\ud800"
