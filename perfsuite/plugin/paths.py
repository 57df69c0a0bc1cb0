"""Owns where the reports of a run go, found unusable before anything is measured."""

from pathlib import Path

from perfsuite.core.errors import OptionError
from perfsuite.disk import explain, user_path
from perfsuite.plugin.reader import FLAGS, Reader
from perfsuite.report.files import SUMMARY_VARIABLE, check_distinct, check_writable, summary_path

REPORTS = ("json", "html", "openmetrics")
"""Flags that name a file for a report, in the order in which they are written."""


def report_paths(reader: Reader, folder: Path) -> dict[str, Path]:
    """The file of every report that was asked for, by its flag's name; OptionError if one could not be written."""
    named = {name: _path(text, name, folder) for name in REPORTS if (text := reader.text(name))}
    for name, path in named.items():
        check_writable(path, FLAGS[name].option)
    check_distinct({FLAGS[name].option: path for name, path in named.items()})
    return named


def folder_path(reader: Reader, name: str, root: Path) -> Path:
    """The folder that a flag names, there or not; OptionError if something else is there."""
    path = _path(reader.text(name), name, root)
    if path.exists() and not path.is_dir():
        raise OptionError(f"{FLAGS[name].option}: {path} is no folder; name one")
    return path


def _path(text: str, name: str, folder: Path) -> Path:
    try:
        return folder / user_path(text)
    except OSError as error:
        raise OptionError(f"{FLAGS[name].option}: {text[:80]!r}: {explain(error)}; name another place") from error


def summary_trouble() -> str:
    """Why the summary could not be written; empty if it can be. It is the machine's fault, so the run goes on."""
    path = summary_path()
    try:
        if path:
            check_writable(path, SUMMARY_VARIABLE, is_appended=True)
    except OptionError as error:
        return f"{error}; the job gets no summary"
    return ""
