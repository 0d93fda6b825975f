"""The index of gaps serves counts over all communities as well as over one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Put the community last."""
    op.drop_index("ix_turn_gap", "turn")
    of_gaps = sa.text("answer_kind = 'gap'")
    op.create_index(
        "ix_turn_gap",
        "turn",
        ["review_state", "state", "community_id"],
        sqlite_where=of_gaps,
        postgresql_where=of_gaps,
    )


def downgrade() -> None:
    """Refuse: the backup made before the upgrade is the way back."""
    raise NotImplementedError("restore the backup made before the upgrade")
