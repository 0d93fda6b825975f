"""What the console's pages read from the record. Read-only; what they change goes through the core."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.chat.sources import with_links
from bot.commands.adapter import AdapterSummary
from bot.commands.review import PEOPLE
from bot.knowledge.knowledge import Source, sources_of
from bot.questions import Place
from feedback import passages, statistics
from feedback.tables import Adapter, Community, Conversation, Turn, Vote
from feedback.words import AdapterVersion, Language
from training.examination.comparisons import LOSS

SHOWN_TURNS = 50
"""How much of a conversation is shown when its page is opened again."""


@dataclass(frozen=True)
class PastTurn:
    """A turn of a conversation with its own member's vote (0 is none).

    `adapter` is a label, "base" or PEOPLE. `sources` are what its answer was given, as far as they still are
    what they were.
    """

    turn: Turn
    adapter: str
    vote: int
    sources: tuple[Source, ...] = ()


async def community_id(session: AsyncSession, place: Place) -> int | None:
    """The community's id, or None while nothing was ever said in it."""
    found = select(Community.id).where(
        Community.platform == place.platform, Community.external_id == place.community
    )
    return (await session.exec(found)).one_or_none()


async def conversation(session: AsyncSession, place: Place) -> list[PastTurn]:
    """The last turns of a conversation, oldest first."""
    newest = (
        select(Turn, Adapter, Vote.value)
        .join(Conversation, col(Conversation.id) == Turn.conversation_id)
        .join(Community, col(Community.id) == Turn.community_id)
        .outerjoin(Adapter, col(Adapter.id) == Turn.adapter_id)
        .outerjoin(Vote, (col(Vote.turn_id) == Turn.id) & (col(Vote.member_id) == Turn.member_id))
        .where(
            Community.platform == place.platform,
            Community.external_id == place.community,
            Conversation.external_id == place.conversation,
            Turn.state != "erased",
        )
        .order_by(col(Turn.id).desc())
        .limit(SHOWN_TURNS)
    )
    rows = (await session.exec(newest)).all()
    # most turns have none, and each one's are a look-up
    cited = await passages.with_passages(session, [turn.id or 0 for turn, _, _ in rows])
    past = []
    for turn, adapter, vote in reversed(rows):
        label = str(AdapterVersion(adapter.name, adapter.version)) if adapter else "base"
        if turn.answer_kind == "approved" or not (adapter or turn.base_model):
            label = PEOPLE
        sources: tuple[Source, ...] = ()
        if turn.id in cited:
            sources = await with_links(session, await sources_of(session, turn.community_id, turn.id))
        past.append(PastTurn(turn, label, vote or 0, sources))
    return past


async def questions_to_try(
    session: AsyncSession, community: int | None, language: Language, limit: int = 4
) -> list[str]:
    """Questions whose answers were approved: held-out ones first, for they show what an adapter learned."""
    approved = (
        select(Turn.question)
        .where(
            Turn.community_id == community,
            Turn.language == language,
            col(Turn.review_state).in_(("approved", "edited")),
        )
        .order_by(col(Turn.held_out).desc(), col(Turn.id))
        .limit(limit)
    )
    return list((await session.exec(approved)).all())


async def waiting(session: AsyncSession, community: int | None) -> int:
    """How many answers of a community, or of all, wait for a decision, counted so far as is shown."""
    return await statistics.waiting(session, community_id=community, at_most=statistics.MOST_COUNTED)


def held_out_loss(summary: AdapterSummary, subject: str = "candidate") -> float | None:
    """The loss on held-out questions that an adapter's examination measured of `subject`, nats per token."""
    loss = summary.metrics.get(subject, {}).get(LOSS)
    return float(loss) if isinstance(loss, int | float) else None


def base_loss(listed: list[AdapterSummary]) -> float | None:
    """The base model's held-out loss as the newest examination measured it."""
    examined = [one for one in listed if one.created_at and held_out_loss(one, "base") is not None]
    newest = max(examined, key=lambda one: str(one.created_at), default=None)
    return held_out_loss(newest, "base") if newest else None
