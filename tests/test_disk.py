"""What perfsuite keeps can be made again, and lies where the user's caches are."""

from pathlib import Path

from perfsuite.disk import cache_folder


def test_caches_lie_where_the_user_has_them() -> None:
    assert cache_folder("engines", {"XDG_CACHE_HOME": "/cache"}) == Path("/cache/perfsuite/engines")
    assert cache_folder("models", {}) == Path.home() / ".cache" / "perfsuite" / "models"
    assert cache_folder("models", {"XDG_CACHE_HOME": ""}) == Path.home() / ".cache" / "perfsuite" / "models"
