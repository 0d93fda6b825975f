"""The engines of a database, for tests that listen to its statements and transactions."""

from __future__ import annotations

from sqlalchemy import Engine

from feedback.database import Database


def engines(database: Database) -> list[Engine]:
    """What writing sessions use, and where reading ones use another one, that as well."""
    writing = database._writing.sync_engine
    return [writing, database._reading.sync_engine] if database.is_sqlite else [writing]
