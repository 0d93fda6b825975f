"""What communities' own wordings taught their retrieval; none has been learnt yet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, empty."""
    op.create_table(
        "retrieval_projection",
        sa.Column("community_id", sa.Integer(), nullable=False),
        sa.Column("index_version", sa.String(), nullable=False),
        sa.Column("matrix", sa.LargeBinary(), nullable=False),
        sa.Column("wordings", sa.Integer(), nullable=False),
        sa.Column("recall_before", sa.Float(), nullable=False),
        sa.Column("recall_after", sa.Float(), nullable=False),
        sa.Column("gain_low", sa.Float(), nullable=False),
        sa.Column("learnt_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["community_id"], ["community.id"], name="fk_retrieval_projection_community_id_community"
        ),
        sa.PrimaryKeyConstraint("community_id", name="pk_retrieval_projection"),
    )


def downgrade() -> None:
    """Refuse: the backup made before the upgrade is the way back."""
    raise NotImplementedError("restore the backup made before the upgrade")
