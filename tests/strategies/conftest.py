"""Owns where engines go that the tests build, and what the garbage collector looks at: not at torch again and again."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def imported_objects_left_alone() -> Iterator[None]:
    """Closing a strategy collects garbage, which takes 0.2 s if all that torch and transformers hold is visited."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def no_engines_of_the_user(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
