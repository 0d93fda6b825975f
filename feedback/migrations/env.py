"""What Alembic runs for every migration, on the connection that `feedback.database` hands over.

A new revision, from a checkout (the scratch file must be at the newest revision):
`alembic -x url=sqlite:///scratch.db revision --autogenerate --rev-id 0002 -m "why"`, then tidy the file by
hand: plain SQLAlchemy types, names spelled out, `op.batch_alter_table` for changes (SQLite).
"""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import Connection, create_engine
from sqlmodel import SQLModel

from feedback.tables import TABLES_OF_OTHERS


def _is_ours(thing: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    return not (kind == "table" and name in TABLES_OF_OTHERS)


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        include_object=_is_ours,
        render_as_batch=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


_connection = context.config.attributes.get("connection")
if _connection is not None:
    _migrate(_connection)
else:
    with create_engine(context.get_x_argument(as_dictionary=True)["url"]).begin() as _connection:
        _migrate(_connection)
