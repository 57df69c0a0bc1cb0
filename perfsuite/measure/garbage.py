"""Owns when Python may collect garbage: not while requests are timed, and never what was loaded before."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def long_lived_objects_left_alone() -> Iterator[None]:
    """Keep the garbage collector away from what is loaded: a look at all of torch takes a tenth of a second."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Collect now, and not until the end of this."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
