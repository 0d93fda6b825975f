"""Open questions, what platforms remember and what they deliver get tables of their own.

Until now all three stood in `bookmark`: open questions as JSON under "open:", the hash of uploaded commands
under "commands:", Telegram's last tap under "tapped". Discord's open questions were turns without an answer.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UNDELIVERED = timedelta(minutes=15)
"""How far back Discord's catch-up looked for answers that no message shows."""

TIME = sa.DateTime(timezone=True)
BOOKMARK = sa.table(
    "bookmark", sa.column("id"), sa.column("platform"), sa.column("external_id"), sa.column("last_seen")
)
COMMUNITY = sa.table(
    "community",
    sa.column("id"),
    sa.column("platform"),
    sa.column("external_id"),
    sa.column("name"),
    sa.column("persona"),
    sa.column("language"),
    sa.column("default_mode"),
    sa.column("training_allowed", sa.Boolean),
    sa.column("own_channels", sa.JSON),
    sa.column("moderator_roles", sa.JSON),
    sa.column("log_channel"),
    sa.column("cooldown_seconds"),
    sa.column("created_at", TIME),
)
CONVERSATION = sa.table(
    "conversation",
    sa.column("id"),
    sa.column("community_id"),
    sa.column("external_id"),
    sa.column("started_at", TIME),
)
TURN = sa.table(
    "turn",
    sa.column("id"),
    sa.column("community_id"),
    sa.column("conversation_id"),
    sa.column("external_id"),
    sa.column("regenerates_id"),
    sa.column("state"),
    sa.column("question"),
    sa.column("input"),
    sa.column("answer"),
    sa.column("mode"),
    sa.column("language"),
    sa.column("task_type"),
    sa.column("base_model"),
    sa.column("base_revision"),
    sa.column("prompt_fingerprint"),
    sa.column("prompt_tokens"),
    sa.column("answer_tokens"),
    sa.column("first_token_s"),
    sa.column("total_s"),
    sa.column("error_reference"),
    sa.column("asked_at", TIME),
    sa.column("answered_at", TIME),
    sa.column("review_state"),
    sa.column("approved_answer"),
    sa.column("held_out", sa.Boolean),
    sa.column("queue_rank"),
    sa.column("claimed_by"),
)
ANSWER_MESSAGE = sa.table("answer_message", sa.column("turn_id"))


def upgrade() -> None:
    """Make the tables and move the rows over."""
    open_question = op.create_table(
        "open_question",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("turn_id", sa.Integer(), nullable=False),
        sa.Column("asker", sa.String(), nullable=False),
        sa.Column("shown_in", sa.JSON(), nullable=False),
        sa.Column("drawn", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name="fk_open_question_turn_id_turn"),
        sa.PrimaryKeyConstraint("id", name="pk_open_question"),
        sa.UniqueConstraint("turn_id", name="uq_open_question_turn_id"),
    )
    platform_state = op.create_table(
        "platform_state",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_platform_state"),
        sa.UniqueConstraint("platform", "key", name="uq_platform_state_platform_key"),
    )
    incoming_update = op.create_table(
        "incoming_update",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("pseudonym", sa.String(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("begun_at", TIME, nullable=True),
        sa.Column("handled_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_incoming_update"),
        sa.UniqueConstraint("platform", "external_id", name="uq_incoming_update_platform_external_id"),
    )
    connection, now = op.get_bind(), datetime.now(UTC)
    for mark in connection.execute(sa.select(BOOKMARK).order_by(BOOKMARK.c.id)).all():
        if mark.external_id.startswith("open:"):
            row = _open_row(connection, json.loads(mark.last_seen), now)
            connection.execute(sa.insert(open_question).values(**row))
        elif mark.external_id.startswith("commands:"):
            connection.execute(
                sa.insert(platform_state).values(
                    platform=mark.platform, key=mark.external_id, value=mark.last_seen, changed_at=now
                )
            )
        elif mark.external_id == "tapped":
            # the last tap that counted: delivered again, it would take its thumb back
            connection.execute(
                sa.insert(incoming_update).values(
                    platform=mark.platform,
                    external_id=mark.last_seen,
                    pseudonym="",
                    payload="",
                    received_at=now,
                    handled_at=now,
                )
            )
        else:
            continue
        connection.execute(sa.delete(BOOKMARK).where(BOOKMARK.c.id == mark.id))
    for row in _open_on_discord(connection, now):
        connection.execute(sa.insert(open_question).values(**row))


def downgrade() -> None:
    """Refuse: the backup made before the upgrade is the way back."""
    raise NotImplementedError("restore the backup made before the upgrade")


def _open_row(connection: sa.Connection, kept: dict[str, Any], now: datetime) -> dict[str, Any]:
    """The row for a question that Telegram had under way; a turn is made where there is none yet."""
    community_id = _id_of(
        connection,
        COMMUNITY,
        {"platform": "telegram", "external_id": kept["community"]},
        name="",
        persona="",
        language="auto",
        default_mode="default",
        training_allowed=False,
        own_channels=[],
        moderator_roles=[],
        log_channel="",
        cooldown_seconds=3,
        created_at=now,
    )
    conversation_id = _id_of(
        connection,
        CONVERSATION,
        {"community_id": community_id, "external_id": kept["conversation"]},
        started_at=now,
    )
    turn_id = _id_of(
        connection,
        TURN,
        {"community_id": community_id, "external_id": kept["external_id"]},
        conversation_id=conversation_id,
        regenerates_id=kept["regenerates"],
        state="asked",
        question=kept["text"],
        input="",
        answer="",
        mode="default",
        language="en",
        task_type="qa",
        base_model="",
        base_revision="",
        prompt_fingerprint="",
        prompt_tokens=0,
        answer_tokens=0,
        first_token_s=0.0,
        total_s=0.0,
        error_reference="",
        asked_at=datetime.fromtimestamp(kept["asked"], UTC),
        review_state="waiting",
        approved_answer="",
        held_out=False,
        queue_rank=0,
        claimed_by="",
    )
    return {
        "turn_id": turn_id,
        "asker": kept["member"],
        "shown_in": {**kept["spot"], "private": kept["private"]},
        "drawn": [str(message) for message in kept["drawn"]],
    }


def _id_of(connection: sa.Connection, table: sa.TableClause, key: dict[str, Any], **values: Any) -> int:
    """The id of the row of that key, made with these values unless it is there."""
    same = sa.select(table.c.id).where(*(table.c[name] == value for name, value in key.items()))
    found = connection.execute(same).scalar_one_or_none()
    if found is None:
        connection.execute(sa.insert(table).values(**key, **values))
        found = connection.execute(same).scalar_one()
    return int(found)


def _open_on_discord(connection: sa.Connection, now: datetime) -> list[dict[str, Any]]:
    """Rows for what Discord's catch-up would have answered or shown; what the API asked names no channel."""
    unshown = ~sa.exists().where(ANSWER_MESSAGE.c.turn_id == TURN.c.id)
    found = connection.execute(
        sa.select(TURN.c.id, CONVERSATION.c.external_id)
        .join(COMMUNITY, COMMUNITY.c.id == TURN.c.community_id)
        .join(CONVERSATION, CONVERSATION.c.id == TURN.c.conversation_id)
        .where(
            COMMUNITY.c.platform == "discord",
            sa.or_(
                TURN.c.state == "asked",
                sa.and_(TURN.c.state == "answered", TURN.c.answered_at >= now - UNDELIVERED, unshown),
            ),
        )
    ).all()
    channels = [(turn_id, conversation.partition("/")[0]) for turn_id, conversation in found]
    return [
        {"turn_id": turn_id, "asker": "", "shown_in": {"channel": int(channel)}, "drawn": []}
        for turn_id, channel in channels
        if channel.isascii() and channel.isdigit()
    ]
