"""How a canary ended, and why, stands with its deployment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; no deployment so far was a canary."""
    with op.batch_alter_table("deployment") as deployment:
        deployment.add_column(sa.Column("outcome", sa.String(), nullable=False, server_default=""))
        deployment.add_column(sa.Column("outcome_reason", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Refuse: the backup made before the upgrade is the way back."""
    raise NotImplementedError("restore the backup made before the upgrade")
