"""Owns the text of a flag: from the command line, else from the ini file, else its default."""

import re
from typing import TypeVar

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.plugin.flags import SWITCHES, VALUES, Flag

FLAGS = {flag.name: flag for flag in (*VALUES, *SWITCHES)}
BAD_INI = (ValueError, pytest.UsageError)
"""What pytest raises for an ini value of the wrong type, from version to version."""
Number = TypeVar("Number", int, float)


class Reader:
    """The text of a flag: from the command line, else from the ini file, else its default."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def text(self, name: str) -> str:
        """The text, without blanks around it; OptionError for a flag that is given, but empty.

        A variable of a CI job that is not set leaves one. Where the ini file has a value, an empty flag takes it back.
        """
        flag = FLAGS[name]
        given: str | None = self._config.getoption(flag.key)
        of_ini = self._of_ini(flag)
        if given is None:
            return (of_ini or flag.default).strip()
        if not given.strip() and not of_ini:
            raise OptionError(f"{flag.option}: it is empty; give it a value or leave it out")
        return given.strip() or flag.default

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """One of these texts; OptionError for any other."""
        text = self.text(name)
        if text not in allowed:
            raise OptionError(f"{FLAGS[name].option}: {text!r} is not allowed; it must be one of {', '.join(allowed)}")
        return text

    def switch(self, name: str) -> bool:
        flag = FLAGS[name]
        given: bool | None = self._config.getoption(flag.key)
        if given is not None or not flag.has_ini:
            return bool(given)
        try:
            return bool(self._config.getini(flag.key))
        except BAD_INI as error:
            raise OptionError(f"{flag.option}: it is neither true nor false ({error})") from error

    def number(self, name: str, kind: type[Number], *, least: float | None = None, most: float | None = None) -> Number:
        flag, text = FLAGS[name], self.text(name)
        try:
            value = kind(text)
        except ValueError as error:
            noun = "whole number" if kind is int else "number"
            raise OptionError(f"{flag.option}: {text!r} is not a {noun}") from error
        if least is not None and not value >= least:
            raise OptionError(f"{flag.option}: {text} is not allowed; it must be {least:g} or above")
        if most is not None and not value <= most:
            raise OptionError(f"{flag.option}: {text} is not allowed; it must be {most:,.0f} or below")
        return value

    def whole_or_none(self, name: str, *, most: float | None = None) -> int | None:
        return self.number(name, int, least=1, most=most) if self.text(name) else None

    def by_source(self, error: OptionError) -> OptionError:
        """The same error, told of the ini file's key where the text that it is about came from there."""
        named = re.match(r"--perf-[a-z-]+", str(error))
        flag = next((flag for flag in FLAGS.values() if named and flag.option == named.group()), None)
        if flag is None or not flag.has_ini or self._config.getoption(flag.key) is not None or not self._of_ini(flag):
            return error
        file = self._config.inipath.name if self._config.inipath else "ini file"
        return OptionError(f"{flag.key} ({file}){str(error)[len(flag.option) :]}")

    def _of_ini(self, flag: Flag) -> str:
        """What the ini file says, as text; empty if it says nothing."""
        try:
            return str(self._config.getini(flag.key) or "") if flag.has_ini else ""
        except BAD_INI as error:
            return str(error)
