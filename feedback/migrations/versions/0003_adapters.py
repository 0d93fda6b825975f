"""What the registry of several adapters needs: pinned ones, and which one another goes on from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; adapters that are there already are not pinned and were trained from nothing."""
    with op.batch_alter_table("adapter") as adapter:
        adapter.add_column(sa.Column("pinned", sa.Boolean(), nullable=False, server_default=sa.false()))
        adapter.add_column(sa.Column("continues_id", sa.Integer(), nullable=True))
        adapter.create_foreign_key("fk_adapter_continues_id_adapter", "adapter", ["continues_id"], ["id"])


def downgrade() -> None:
    """Refuse: the backup made before the upgrade is the way back."""
    raise NotImplementedError("restore the backup made before the upgrade")
