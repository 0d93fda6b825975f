"""Pairs that a person keeps in datasets against a hygiene rule."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; nobody has overruled anything yet."""
    op.create_table(
        "hygiene_exception",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("turn_id", sa.Integer(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("decided_by", sa.String(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name="fk_hygiene_exception_turn_id_turn"),
        sa.PrimaryKeyConstraint("id", name="pk_hygiene_exception"),
        sa.UniqueConstraint("turn_id", "rule", name="uq_hygiene_exception_turn_id_rule"),
    )


def downgrade() -> None:
    """Refuse: the backup made before the upgrade is the way back."""
    raise NotImplementedError("restore the backup made before the upgrade")
