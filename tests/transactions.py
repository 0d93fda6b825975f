"""Counts the transactions that a database is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, event

from feedback.database import Database
from tests.engines import engines


@dataclass
class Transactions:
    """How many were begun so far."""

    begun: int = 0


@contextmanager
def counted(database: Database) -> Iterator[Transactions]:
    """Count the transactions that are begun in the block."""
    count = Transactions()

    def begin(connection: Connection) -> None:
        count.begun += 1

    for engine in engines(database):
        event.listen(engine, "begin", begin)
    try:
        yield count
    finally:
        for engine in engines(database):
            event.remove(engine, "begin", begin)
