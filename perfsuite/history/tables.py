"""Owns the tables of a history, layout 1; their names have a prefix, as a fleet's database may hold more."""

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, MetaData, String, Table

METADATA = MetaData()
PREFIX = "perfsuite_"

LAYOUT = Table(f"{PREFIX}layout", METADATA, Column("number", Integer, primary_key=True, autoincrement=False))

RUNS = Table(
    f"{PREFIX}runs",
    METADATA,
    Column("id", String, primary_key=True),
    Column("started_at", String, nullable=False),
    Column("code", String, nullable=False),
    Column("perfsuite", String, nullable=False),
    Column("kind", String, nullable=False),
)

SESSIONS = Table(
    f"{PREFIX}sessions",
    METADATA,
    Column("run", String, ForeignKey(RUNS.c.id), primary_key=True),
    Column("cell", String, primary_key=True),
    Column("session", Integer, primary_key=True, autoincrement=False),
    Column("device", String, nullable=False),
    Column("started_at", String, nullable=False),
    Column("slowed", Float, nullable=False),
    Column("problem", String, nullable=False),
    Column("environment", String, nullable=False),
)

VALUES = Table(
    f"{PREFIX}values",
    METADATA,
    Column("run", String, ForeignKey(RUNS.c.id), primary_key=True),
    Column("cell", String, primary_key=True),
    Column("session", Integer, primary_key=True, autoincrement=False),
    Column("metric", String, primary_key=True),
    Column("value", Float, nullable=False),
    Index(f"{PREFIX}values_by_cell", "cell", "metric"),
)

VERDICTS = Table(
    f"{PREFIX}verdicts",
    METADATA,
    Column("run", String, ForeignKey(RUNS.c.id), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("cell", String, nullable=False),
    Column("metric", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("tolerance", Float, nullable=False),
    Column("change", Float),
    Column("low", Float),
    Column("high", Float),
)
