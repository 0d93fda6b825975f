"""Imports are told apart for ever, and talk that was imported waits in the queue as candidates.

Turns that were imported before this have no import: nobody noted of which file they were.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the three tables, and the column that leads from a turn to its import."""
    op.create_table(
        "data_import",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("community_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("file_hash", sa.String(), nullable=False),
        sa.Column("imported_by", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("undone_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["community_id"], ["community.id"], name=op.f("fk_data_import_community_id_community")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_import")),
    )
    op.create_index(op.f("ix_data_import_community_id"), "data_import", ["community_id"])
    op.create_index("ix_data_import_file_hash", "data_import", ["file_hash"])
    with op.batch_alter_table("turn") as turn:
        turn.add_column(sa.Column("import_id", sa.Integer(), nullable=True))
        turn.create_foreign_key(op.f("fk_turn_import_id_data_import"), "data_import", ["import_id"], ["id"])
        turn.create_index(op.f("ix_turn_import_id"), ["import_id"])
    op.create_table(
        "candidate",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("turn_id", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("answers", sa.JSON(), nullable=False),
        sa.Column("asked_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name=op.f("fk_candidate_turn_id_turn")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_candidate")),
        sa.UniqueConstraint("turn_id", name=op.f("uq_candidate_turn_id")),
    )
    op.create_table(
        "imported_voice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("turn_id", sa.Integer(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("pseudonym", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name=op.f("fk_imported_voice_turn_id_turn")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imported_voice")),
        sa.UniqueConstraint(
            "turn_id", "platform", "pseudonym", name=op.f("uq_imported_voice_turn_id_platform_pseudonym")
        ),
    )
    op.create_index("ix_imported_voice_platform_pseudonym", "imported_voice", ["platform", "pseudonym"])


def downgrade() -> None:
    """Refuse: the backup made before the upgrade is the way back."""
    raise NotImplementedError("restore the backup made before the upgrade")
