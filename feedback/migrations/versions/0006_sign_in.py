"""Links and sessions of people who sign in to the console."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the two tables."""
    for table, own in (
        ("sign_in_link", (sa.Column("used_at", TIME, nullable=True),)),
        (
            "console_session",
            (
                sa.Column("browser", sa.String(), nullable=False),
                sa.Column("seen_at", TIME, nullable=False),
                sa.Column("ended_at", TIME, nullable=True),
                sa.Column("ended_why", sa.String(), nullable=False),
            ),
        ),
    ):
        op.create_table(
            table,
            sa.Column("id", sa.Integer(), nullable=False),
            sa.Column("token_hash", sa.String(), nullable=False),
            sa.Column("platform", sa.String(), nullable=False),
            sa.Column("pseudonym", sa.String(), nullable=False),
            sa.Column("external_id", sa.String(), nullable=False),
            sa.Column("role", sa.String(), nullable=False),
            sa.Column("community_id", sa.Integer(), nullable=True),
            sa.Column("created_at", TIME, nullable=False),
            sa.Column("expires_at", TIME, nullable=False),
            *own,
            sa.ForeignKeyConstraint(
                ["community_id"], ["community.id"], name=op.f(f"fk_{table}_community_id_community")
            ),
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
            sa.UniqueConstraint("token_hash", name=op.f(f"uq_{table}_token_hash")),
        )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("console_session")
    op.drop_table("sign_in_link")
