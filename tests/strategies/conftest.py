"""Owns where engines go that the tests build: not into the user's own folder."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_engines_of_the_user(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
