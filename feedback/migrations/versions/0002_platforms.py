"""What Discord and Telegram need: a community's channels and roles, messages of answers, bookmarks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns with what they mean for rows that are there already, and the two tables."""
    with op.batch_alter_table("community") as community:
        community.add_column(sa.Column("own_channels", sa.JSON(), nullable=False, server_default="[]"))
        community.add_column(sa.Column("moderator_roles", sa.JSON(), nullable=False, server_default="[]"))
        community.add_column(sa.Column("log_channel", sa.String(), nullable=False, server_default=""))
        community.add_column(sa.Column("cooldown_seconds", sa.Integer(), nullable=False, server_default="3"))
    with op.batch_alter_table("member") as member:
        member.add_column(sa.Column("default_mode", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("turn") as turn:
        turn.add_column(sa.Column("regenerates_id", sa.Integer(), nullable=True))
        turn.create_foreign_key("fk_turn_regenerates_id_turn", "turn", ["regenerates_id"], ["id"])
        turn.create_index("ix_turn_regenerates_id", ["regenerates_id"])
    op.create_table(
        "answer_message",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("community_id", sa.Integer(), nullable=False),
        sa.Column("turn_id", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["community_id"], ["community.id"], name="fk_answer_message_community_id_community"
        ),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name="fk_answer_message_turn_id_turn"),
        sa.PrimaryKeyConstraint("id", name="pk_answer_message"),
        sa.UniqueConstraint("community_id", "external_id", name="uq_answer_message_community_id_external_id"),
    )
    op.create_index("ix_answer_message_turn_id", "answer_message", ["turn_id"])
    op.create_table(
        "bookmark",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("last_seen", sa.String(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_bookmark"),
        sa.UniqueConstraint("platform", "external_id", name="uq_bookmark_platform_external_id"),
    )


def downgrade() -> None:
    """Refuse: the backup made before the upgrade is the way back."""
    raise NotImplementedError("restore the backup made before the upgrade")
