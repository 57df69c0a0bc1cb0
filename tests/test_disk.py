"""What perfsuite keeps can be made again, and lies where the user's caches are."""

from pathlib import Path

from perfsuite.disk import cache_folder, write_whole


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
