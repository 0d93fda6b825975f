"""Adapters and runs with a verdict against them are called rejected; until now they were called held."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rename the state, and the word that a run's verdict begins with; the audit stays as it was written."""
    op.execute("UPDATE adapter SET state = 'rejected' WHERE state = 'held'")
    op.execute(
        "UPDATE run SET verdict = 'Rejected: ' || substr(verdict, 7) "
        "WHERE state = 'held' AND substr(verdict, 1, 6) = 'Held: '"
    )
    op.execute("UPDATE run SET state = 'rejected' WHERE state = 'held'")


def downgrade() -> None:
    """Refuse: the backup made before the upgrade is the way back."""
    raise NotImplementedError("restore the backup made before the upgrade")
