"""Owns the text of a flag: from the command line, else from the ini file, else its default."""

from typing import TypeVar

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.plugin.flags import SWITCHES, VALUES

FLAGS = {flag.name: flag for flag in (*VALUES, *SWITCHES)}
Number = TypeVar("Number", int, float)


class Reader:
    """The text of a flag: from the command line, else from the ini file, else its default."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def text(self, name: str) -> str:
        flag = FLAGS[name]
        given: str | None = self._config.getoption(flag.key)
        if given is None and flag.has_ini:
            given = str(self._config.getini(flag.key) or "") or None
        return (flag.default if given is None else given).strip()

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """One of these texts; OptionError for any other."""
        text = self.text(name)
        if text not in allowed:
            raise OptionError(f"{FLAGS[name].option}: {text!r} is not allowed; it must be one of {', '.join(allowed)}")
        return text

    def switch(self, name: str) -> bool:
        flag = FLAGS[name]
        given: bool | None = self._config.getoption(flag.key)
        return bool(self._config.getini(flag.key)) if given is None and flag.has_ini else bool(given)

    def number(self, name: str, kind: type[Number], *, least: float | None = None) -> Number:
        flag, text = FLAGS[name], self.text(name)
        try:
            value = kind(text)
        except ValueError as error:
            noun = "whole number" if kind is int else "number"
            raise OptionError(f"{flag.option}: {text!r} is not a {noun}") from error
        if least is not None and not value >= least:
            raise OptionError(f"{flag.option}: {text} is not allowed; it must be {least:g} or above")
        return value

    def whole_or_none(self, name: str) -> int | None:
        return self.number(name, int, least=1) if self.text(name) else None
