"""Documents, passages and their index; the passages that stood in a turn's prompt.

Answers approved until now become passages, which wait to be indexed. The words of a passage are indexed by
SQLite's FTS5, kept in step by triggers whatever deletes a passage, or by PostgreSQL over an array of them:
they are stems already, and PostgreSQL's own parser would take them apart again.
"""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import CreateTable

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
SQLITE_INDEX = (
    "CREATE VIRTUAL TABLE passage_stems USING fts5("
    "stems, content='passage', content_rowid='id', tokenize='unicode61 remove_diacritics 0')",
    "CREATE TRIGGER passage_stems_insert AFTER INSERT ON passage WHEN new.stems <> '' BEGIN"
    " INSERT INTO passage_stems (rowid, stems) VALUES (new.id, new.stems); END",
    "CREATE TRIGGER passage_stems_delete AFTER DELETE ON passage WHEN old.stems <> '' BEGIN"
    " INSERT INTO passage_stems (passage_stems, rowid, stems) VALUES ('delete', old.id, old.stems); END",
    "CREATE TRIGGER passage_stems_leave AFTER UPDATE OF stems ON passage WHEN old.stems <> '' BEGIN"
    " INSERT INTO passage_stems (passage_stems, rowid, stems) VALUES ('delete', old.id, old.stems); END",
    "CREATE TRIGGER passage_stems_enter AFTER UPDATE OF stems ON passage WHEN new.stems <> '' BEGIN"
    " INSERT INTO passage_stems (rowid, stems) VALUES (new.id, new.stems); END",
)
POSTGRESQL_INDEX = (
    "CREATE INDEX ix_passage_stems ON passage USING gin (array_to_tsvector(string_to_array(stems, ' ')))"
)
TURN = sa.table(
    "turn",
    *map(
        sa.column,
        ("id", "community_id", "member_id", "question", "input", "approved_answer", "language"),
    ),
    sa.column("review_state"),
    sa.column("held_out", sa.Boolean),
)
MEMBER = sa.table("member", sa.column("id"), sa.column("opted_out", sa.Boolean))


def upgrade() -> None:
    """Make the tables and their index, and a passage of each answer that is approved."""
    op.create_table(
        "document",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("community_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=True),
        sa.Column("source_kind", sa.String(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.String(), nullable=False),
        sa.Column("etag", sa.String(), nullable=False),
        sa.Column("last_modified", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("added_by", sa.String(), nullable=False),
        sa.Column("added_at", TIME, nullable=False),
        sa.Column("refreshed_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["community_id"], ["community.id"], name="fk_document_community_id_community"
        ),
        sa.ForeignKeyConstraint(["source_id"], ["document.id"], name="fk_document_source_id_document"),
        sa.PrimaryKeyConstraint("id", name="pk_document"),
        sa.UniqueConstraint("community_id", "address", name="uq_document_community_id_address"),
    )
    op.create_index("ix_document_source_id", "document", ["source_id"])
    passage = _create_without_reuse(
        "passage",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("community_id", sa.Integer(), nullable=False),
        sa.Column("document_id", sa.Integer(), nullable=True),
        sa.Column("turn_id", sa.Integer(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("title_path", sa.Text(), nullable=False),
        sa.Column("page", sa.Integer(), nullable=True),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("content_hash", sa.String(), nullable=False),
        sa.Column("stems", sa.Text(), nullable=False),
        sa.Column("index_version", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["community_id"], ["community.id"], name="fk_passage_community_id_community"),
        sa.ForeignKeyConstraint(["document_id"], ["document.id"], name="fk_passage_document_id_document"),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name="fk_passage_turn_id_turn"),
        sa.PrimaryKeyConstraint("id", name="pk_passage"),
    )
    op.create_index("ix_passage_document_id", "passage", ["document_id"])
    op.create_index("ix_passage_turn_id", "passage", ["turn_id"])
    op.create_index("ix_passage_community_index_version", "passage", ["community_id", "index_version"])
    _create_without_reuse(
        "passage_vector",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("community_id", sa.Integer(), nullable=False),
        sa.Column("passage_id", sa.Integer(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["community_id"], ["community.id"], name="fk_passage_vector_community_id_community"
        ),
        sa.ForeignKeyConstraint(
            ["passage_id"], ["passage.id"], name="fk_passage_vector_passage_id_passage", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_passage_vector"),
    )
    op.create_index("ix_passage_vector_passage_id", "passage_vector", ["passage_id"])
    op.create_index("ix_passage_vector_community_id_id", "passage_vector", ["community_id", "id"])
    op.create_table(
        "turn_passage",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("turn_id", sa.Integer(), nullable=False),
        sa.Column("passage_id", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name="fk_turn_passage_turn_id_turn"),
        sa.PrimaryKeyConstraint("id", name="pk_turn_passage"),
        sa.UniqueConstraint("turn_id", "place", name="uq_turn_passage_turn_id_place"),
    )
    op.create_index("ix_turn_passage_passage_id", "turn_passage", ["passage_id"])
    with op.batch_alter_table("turn") as turn:
        turn.add_column(sa.Column("answer_kind", sa.String(), nullable=False, server_default="generated"))
    sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in SQLITE_INDEX if sqlite else (POSTGRESQL_INDEX,):
        op.execute(statement)
    _fill(passage)


def _create_without_reuse(name: str, *parts: sa.schema.SchemaItem) -> sa.Table:
    """Make a table that never gives the id of a row that is gone to another one.

    PostgreSQL's sequences do so anyway. SQLite takes a word for it, beside which SQLAlchemy leaves out the
    name of the primary key.
    """
    metadata = sa.MetaData()
    for referred in {"community", "document", "turn", "passage"} - {name}:
        sa.Table(referred, metadata, sa.Column("id", sa.Integer(), primary_key=True))
    table = sa.Table(name, metadata, *parts, sqlite_autoincrement=True)
    create = str(CreateTable(table).compile(dialect=op.get_bind().dialect))
    op.execute(
        create.replace(" PRIMARY KEY AUTOINCREMENT", f" CONSTRAINT pk_{name} PRIMARY KEY AUTOINCREMENT")
    )
    return table


def _fill(passage: sa.Table) -> None:
    approved = (
        sa.select(TURN)
        .join(MEMBER, MEMBER.c.id == TURN.c.member_id, isouter=True)
        .where(
            TURN.c.review_state.in_(("approved", "edited")),
            TURN.c.approved_answer != "",
            TURN.c.held_out.is_(False),
            sa.or_(MEMBER.c.id.is_(None), MEMBER.c.opted_out.is_(False)),
        )
        .order_by(TURN.c.id)
    )
    rows = []
    for turn in op.get_bind().execute(approved).all():
        question = f"{turn.question}\n\n{turn.input}" if turn.input else turn.question
        content = "\0".join((question, "", turn.approved_answer))
        rows.append(
            {
                "community_id": turn.community_id,
                "turn_id": turn.id,
                "position": 0,
                "question": question,
                "text": turn.approved_answer,
                "title_path": "",
                "link": "",
                "language": turn.language,
                "content_hash": hashlib.sha256(content.encode()).hexdigest(),
                "stems": "",
                "index_version": "",
            }
        )
    if rows:
        op.bulk_insert(passage, rows)


def downgrade() -> None:
    """Refuse: the backup made before the upgrade is the way back."""
    raise NotImplementedError("restore the backup made before the upgrade")
