"""An index from which answers that people wrote are counted by day, apart from the base model's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """It holds such answers only."""
    by_people = sa.text(
        "state = 'answered' AND (answer_kind = 'approved' OR (adapter_id IS NULL AND base_model = ''))"
    )
    op.create_index(
        "ix_turn_by_people",
        "turn",
        ["asked_at", "community_id", "adapter_id", "state", "answer_kind", "base_model"],
        sqlite_where=by_people,
        postgresql_where=by_people,
    )


def downgrade() -> None:
    """Refuse: the backup made before the upgrade is the way back."""
    raise NotImplementedError("restore the backup made before the upgrade")
