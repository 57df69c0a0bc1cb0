"""What perfsuite keeps can be made again, and lies where the user's caches are."""

from pathlib import Path

import pytest

from perfsuite.disk import cache_folder, explain, user_path, write_whole


def test_caches_lie_where_the_user_has_them() -> None:
    assert cache_folder("engines", {"XDG_CACHE_HOME": "/cache"}) == Path("/cache/perfsuite/engines")
    assert cache_folder("models", {}) == Path.home() / ".cache" / "perfsuite" / "models"
    assert cache_folder("models", {"XDG_CACHE_HOME": ""}) == Path.home() / ".cache" / "perfsuite" / "models"


def test_what_a_link_points_to_is_written_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("before")
    link = tmp_path / "link"
    link.symlink_to("target")
    write_whole(link, "after")
    assert link.is_symlink()
    assert (tmp_path / "target").read_text() == "after"


def test_text_that_no_file_can_hold_is_written_escaped(tmp_path: Path) -> None:
    write_whole(tmp_path / "report", "caf\xe9 \udc80")
    assert (tmp_path / "report").read_bytes() == b"caf\xc3\xa9 \\udc80"


@pytest.mark.parametrize(
    ("text", "words"),
    [("~nobody-of-that-name/x", "there is no such home"), ("x" * 300, "too long"), ("a\0b", "embedded null")],
)
def test_a_path_that_cannot_be_is_an_error_of_the_disk(text: str, words: str) -> None:
    with pytest.raises(OSError, match=words) as refused:
        user_path(text)
    assert words in explain(refused.value)


def test_a_path_as_people_write_it_may_lead_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/not/there") == tmp_path / "not/there"
    assert user_path("a/b") == Path("a/b")
