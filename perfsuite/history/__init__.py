"""Owns the history of runs in a database: SQLite in a file, or PostgreSQL for a fleet. Needs the extra 'history'."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.core.errors import OptionError
from perfsuite.disk import explain, user_path

if TYPE_CHECKING:
    from perfsuite.history.store import HistoryStore

FORMS = "write a file's name, sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


def open_history(text: str, *, where: str, root: Path = Path()) -> "HistoryStore":
    """The history that a file's name or a URL means; files are looked for below `root`. Nothing is connected to yet.

    OptionError, without the password, if it means none, or if what it needs is not installed.
    """
    try:
        from perfsuite.history.store import HistoryStore
    except ImportError as error:
        raise OptionError(f"{where}: needs SQLAlchemy; pip install 'perfsuite[history]'") from error
    url = _as_url(text, where, root)
    try:
        url.encode()
    except UnicodeEncodeError:  # whose words may hold a part of the password
        raise OptionError(f"{where}: not UTF-8 text; name a file or a database whose name is") from None
    return HistoryStore(url, where=where)


def _as_url(text: str, where: str, root: Path) -> str:
    """A URL with the driver that perfsuite uses, a file by its whole path."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return f"sqlite:///{_absolute(text, where, root)}"
    driver = _DRIVERS.get(re.sub(r"\+(psycopg|pysqlite)$", "", scheme))
    if driver is None:
        raise OptionError(f"{where}: {scheme!r} is not a kind of database that is known; {FORMS}")
    if driver != "sqlite":
        return f"{driver}://{rest}"
    if not rest.startswith("/") or rest.strip("/") in ("", ":memory:"):
        raise OptionError(f"{where}: a history is kept in a file; {FORMS}")
    return f"sqlite:///{_absolute(rest[1:], where, root)}"


def _absolute(name: str, where: str, root: Path) -> Path:
    try:
        return (root / user_path(name)).absolute()
    except OSError as error:
        raise OptionError(f"{where}: {name[:80]!r}: {explain(error)}; {FORMS}") from error
