"""Blind rating: rounds over what a run's subjects answered, their questions, and what people gave."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the three tables, empty."""
    op.create_table(
        "rating_round",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("opened_by", sa.String(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_rating_round_run_id_run"),
        sa.PrimaryKeyConstraint("id", name="pk_rating_round"),
        sa.UniqueConstraint("run_id", name="uq_rating_round_run_id"),
    )
    op.create_table(
        "rating_question",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("round_id", sa.Integer(), nullable=False),
        sa.Column("turn_id", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("answers", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["round_id"], ["rating_round.id"], name="fk_rating_question_round_id_rating_round"
        ),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name="fk_rating_question_turn_id_turn"),
        sa.PrimaryKeyConstraint("id", name="pk_rating_question"),
        sa.UniqueConstraint("round_id", "turn_id", name="uq_rating_question_round_id_turn_id"),
    )
    op.create_index("ix_rating_question_turn_id", "rating_question", ["turn_id"])
    op.create_table(
        "rating",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("question_id", sa.Integer(), nullable=False),
        sa.Column("rater", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("accuracy", sa.Integer(), nullable=False),
        sa.Column("style", sa.Integer(), nullable=False),
        sa.Column("safety", sa.Integer(), nullable=False),
        sa.Column("rated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["question_id"], ["rating_question.id"], name="fk_rating_question_id_rating_question"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_rating"),
        sa.UniqueConstraint("question_id", "rater", "subject", name="uq_rating_question_id_rater_subject"),
    )


def downgrade() -> None:
    """Refuse: the backup made before the upgrade is the way back."""
    raise NotImplementedError("restore the backup made before the upgrade")
