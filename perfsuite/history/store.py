"""Owns reading from and appending to one history; every error is a HistoryError in one line, without the password."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, insert, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from perfsuite.core import jsontext
from perfsuite.core.codec import decode
from perfsuite.core.entry import SCHEMA, RunEntry
from perfsuite.core.errors import HistoryError, OptionError
from perfsuite.core.secret import HIDDEN, masked
from perfsuite.core.trend import Sighting
from perfsuite.disk import ESCAPED, explain
from perfsuite.history.tables import LAYOUT, METADATA, RUNS, SESSIONS, VALUES, VERDICTS

WAIT_S = 60
"""How long a writer waits for another one on SQLite."""
CONNECT_S = 10
MAKING = 7037117
"""Key of the lock under which one process at a time makes the tables on PostgreSQL."""


class HistoryStore:
    """A database of runs. Appending is one transaction: a run is there whole or not at all."""

    def __init__(self, url: str, *, where: str) -> None:
        try:
            self._url: URL = make_url(url)
            self._engine: Engine = create_engine(self._url, poolclass=NullPool, connect_args=_arguments(self._url))
        except ImportError as error:
            raise OptionError(f"{where}: needs {error.name}; pip install 'perfsuite[history]'") from error
        except (ArgumentError, ValueError):  # whose words may hold a part of the password
            raise OptionError(f"{where}: not a URL of a database; postgresql://USER:PASSWORD@HOST/DATABASE") from None
        if "@" in (self._url.host or ""):
            raise OptionError(f"{where}: an '@' in a user's name or a password is written %40")
        if self._file is not None:
            event.listen(self._engine, "connect", _leave_transactions_to_us)
            event.listen(self._engine, "begin", _begin)

    @property
    def shown(self) -> str:
        """The URL as it may be printed and pasted, with *** for the password."""
        return masked(self._url.render_as_string(hide_password=True).replace("+psycopg:", ":", 1))

    def check(self) -> None:
        """Append a run and take it back, tables included if there were none; HistoryError if that cannot be done."""
        with self._writing() as connection:
            connection.execute(insert(RUNS).values(id="-", started_at="", code="", perfsuite="", kind="trial"))
            connection.rollback()

    def append(self, entry: RunEntry) -> bool:
        """Whether the run was added; `False` if it is there already."""
        with self._writing() as connection:
            if connection.execute(select(RUNS.c.id).where(RUNS.c.id == entry.id)).first() is not None:
                return False
            connection.execute(insert(RUNS), _storable(_run_row(entry)))
            for table, rows in _rows(entry):
                if rows:
                    connection.execute(insert(table), [_storable(row) for row in rows])
        return True

    def cells(self) -> tuple[tuple[str, str], ...]:
        """Every cell's id with the device (a folder's name) that it ran on, sorted."""
        query = select(SESSIONS.c.cell, SESSIONS.c.device).distinct().order_by(SESSIONS.c.cell, SESSIONS.c.device)
        with self._reading() as connection:
            return tuple((row.cell, row.device) for row in connection.execute(query))

    def metrics(self, cell: str) -> tuple[str, ...]:
        """The metrics that there are values of, sorted."""
        query = select(VALUES.c.metric).where(VALUES.c.cell == cell).distinct().order_by(VALUES.c.metric)
        with self._reading() as connection:
            return tuple(connection.execute(query).scalars())

    def sightings(self, cell: str, device: str, metric: str) -> tuple[Sighting, ...]:
        """Every believable session of the cell, those apart that perfsuite slowed itself."""
        query = (
            select(RUNS.c.id, RUNS.c.code, SESSIONS.c.started_at, SESSIONS.c.environment, VALUES.c.value)
            .join(SESSIONS, SESSIONS.c.run == RUNS.c.id)
            .join(
                VALUES,
                (VALUES.c.run == SESSIONS.c.run)
                & (VALUES.c.cell == SESSIONS.c.cell)
                & (VALUES.c.session == SESSIONS.c.session),
            )
            .where(SESSIONS.c.cell == cell, SESSIONS.c.device == device, VALUES.c.metric == metric)
            .where(SESSIONS.c.slowed == 0, SESSIONS.c.problem == "", VALUES.c.value > 0)
            .order_by(SESSIONS.c.started_at)
        )
        with self._reading() as connection:
            return tuple(_sighting(row) for row in connection.execute(query))

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One transaction in which nobody else writes the tables' layout; they are made if they are not there."""
        with self._errors_told():
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._engine.connect().execution_options(perfsuite_writes=True) as connection, connection.begin():
                if self._file is None:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MAKING})
                self._make_tables(connection)
                yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._errors_told():
            if self._file is not None and not self._file.exists():
                raise HistoryError(f"{self.shown}: there is no such history")
            with self._engine.connect() as connection:
                if not inspect(connection).has_table(LAYOUT.name):
                    raise HistoryError(f"{self.shown}: there is no history of perfsuite in this database")
                self._check_layout(connection)
                yield connection

    def _make_tables(self, connection: Connection) -> None:
        if inspect(connection).has_table(LAYOUT.name):
            self._check_layout(connection)
            return
        METADATA.create_all(connection)
        connection.execute(insert(LAYOUT).values(number=SCHEMA))

    def _check_layout(self, connection: Connection) -> None:
        found = connection.execute(select(LAYOUT.c.number)).scalars().first()
        if found != SCHEMA:
            raise HistoryError(
                f"{self.shown}: {LAYOUT.name}.number: {found}; this perfsuite reads {SCHEMA}; "
                "upgrade perfsuite, or name another database"
            )

    @property
    def _file(self) -> Path | None:
        """The file of an SQLite database."""
        return Path(str(self._url.database)) if self._engine.dialect.name == "sqlite" else None

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise HistoryError(f"{self.shown}: {self._words(error)}") from None
        except OSError as error:
            raise HistoryError(f"{self.shown}: {explain(error)}") from error
        except (ArithmeticError, TypeError, ValueError) as error:  # a value that no column takes, or is none of ours
            raise HistoryError(f"{self.shown}: {self._words(error)}") from None

    def _words(self, error: Exception) -> str:
        """What the database said, in one line; its own words never hold the password, and if they did, no more."""
        lines = str(getattr(error, "orig", None) or error).strip().splitlines()
        said = lines[0] if lines else type(error).__name__
        password = str(self._url.password or "")
        return masked(said.replace(password, HIDDEN) if password else said)


def _arguments(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"timeout": WAIT_S}
    ours = {"connect_timeout": CONNECT_S, "client_encoding": "utf8"}  # a database in SQL_ASCII would hand out bytes
    return {name: value for name, value in ours.items() if name not in url.query}


def _leave_transactions_to_us(connection: Any, _: object) -> None:
    """Python's sqlite3 would begin one only before the first change, when two writers may both have read."""
    connection.isolation_level = None


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("perfsuite_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _storable(row: dict[str, Any]) -> dict[str, Any]:
    """The row with texts that both kinds of database take: no half of a surrogate pair, and no character 0."""
    return {name: _escaped(value) if isinstance(value, str) else value for name, value in row.items()}


def _escaped(value: str) -> str:
    return value.encode(errors=ESCAPED).decode().replace("\0", "\\x00")


def _run_row(entry: RunEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "started_at": entry.started_at,
        "code": entry.commit,
        "perfsuite": entry.perfsuite,
        "kind": entry.kind,
    }


def _rows(entry: RunEntry) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    same = ("cell", "session", "device", "started_at", "slowed", "problem")
    yield (
        SESSIONS,
        [
            {
                "run": entry.id,
                **{name: getattr(session, name) for name in same},
                "environment": json.dumps(dict(session.environment), sort_keys=True),
            }
            for session in entry.sessions
        ],
    )
    yield (
        VALUES,
        [
            {"run": entry.id, "cell": session.cell, "session": session.session, "metric": metric, "value": value}
            for session in entry.sessions
            for metric, value in session.values.items()
        ],
    )
    told = ("cell", "metric", "outcome", "tolerance", "change", "low", "high")
    yield (
        VERDICTS,
        [
            {"run": entry.id, "number": number, **{name: getattr(verdict, name) for name in told}}
            for number, verdict in enumerate(entry.verdicts)
        ],
    )


def _sighting(row: Any) -> Sighting:
    """CodecError, or the ValueError of what is no JSON, for a row that somebody else wrote."""
    said = {
        "run": row.id,
        "started_at": row.started_at,
        "commit": row.code,
        "value": row.value,
        "environment": jsontext.loads(row.environment),
    }
    return decode(Sighting, said, where=f"run {row.id}")
