"""Why a deployment ended, in each language that moderators read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What ended before has its reason in English alone."""
    op.add_column("deployment", sa.Column("outcome_reasons", sa.JSON(), nullable=False, server_default="{}"))


def downgrade() -> None:
    """Refuse: the backup made before the upgrade is the way back."""
    raise NotImplementedError("restore the backup made before the upgrade")
