"""Indexes from which questions are counted by day and gaps are found, without a look at the turns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The index of days gets what answered beside them, in place of the one without."""
    op.create_index("ix_turn_asked_at_adapter_id", "turn", ["asked_at", "adapter_id"])
    op.drop_index("ix_turn_asked_at", "turn")
    op.create_index("ix_turn_community_asked_at", "turn", ["community_id", "asked_at", "adapter_id"])
    of_gaps = sa.text("answer_kind = 'gap'")
    op.create_index(
        "ix_turn_gap",
        "turn",
        ["community_id", "review_state", "state"],
        sqlite_where=of_gaps,
        postgresql_where=of_gaps,
    )


def downgrade() -> None:
    """Refuse: the backup made before the upgrade is the way back."""
    raise NotImplementedError("restore the backup made before the upgrade")
