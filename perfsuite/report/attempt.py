"""Owns what becomes of a report that cannot be made: a line, and never a verdict or another report."""

from collections.abc import Callable
from typing import TypeVar

from perfsuite.core.errors import OptionError

T = TypeVar("T")


def attempt(make: Callable[[], T]) -> tuple[T | None, str]:
    """What `make` gives, or in one line why it gave nothing."""
    try:
        return make(), ""
    except OptionError as error:
        return None, str(error)
    except Exception as error:  # noqa: BLE001 - a report's own fault must change no verdict and lose no other report
        words = " ".join(str(error).split())
        return None, f"it could not be made ({type(error).__name__}: {words}); verdicts and other reports stand"
