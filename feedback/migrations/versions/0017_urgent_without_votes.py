"""Gaps, and answers whose language is unsure, stand before others in the queue though nobody voted.

And what somebody decided, and what was done to something, are found by index.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is unsure, which nobody has looked at in older turns, and rank the gaps that wait."""
    op.add_column(
        "turn", sa.Column("language_unsure", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.create_index("ix_review_reviewer", "review", ["reviewer"])
    op.create_index("ix_audit_subject", "audit", ["subject"])
    op.execute(
        "UPDATE turn SET queue_rank = queue_rank - 2"
        " WHERE answer_kind = 'gap' AND review_state = 'waiting' AND state = 'answered'"
    )


def downgrade() -> None:
    """Refuse: the backup made before the upgrade is the way back."""
    raise NotImplementedError("restore the backup made before the upgrade")
