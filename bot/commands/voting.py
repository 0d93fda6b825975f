"""Members' votes on answers: set, pressed as a thumb, and taken back.

A vote counts on the adapter whose answer it is on. The rules are `feedback.votes`'; here each has its
transaction, its look at the community, and its place in the metrics.
"""

from __future__ import annotations

from sqlmodel.ext.asyncio.session import AsyncSession

from bot.core import Core
from bot.questions import Place
from feedback import incoming, journal, votes
from feedback.tables import Adapter, Member
from feedback.votes import Voted
from feedback.words import VoteValue
from training.adapters import registry


async def vote(
    core: Core,
    place: Place,
    member: str,
    turn_id: int,
    value: VoteValue,
    *,
    reason: str = "",
    suggested_answer: str = "",
) -> Voted:
    """Set, change or (0) take back a member's vote. Raises NotFound when there is no such turn at `place`."""
    async with core.database.session() as session:
        voter = await _voter(core, session, place, member, turn_id)
        voted = await votes.vote(
            session,
            turn_id=turn_id,
            member_id=voter.id or 0,
            value=value,
            reason=reason,
            suggested_answer=suggested_answer,
        )
        await _count(core, session, turn_id, voted)
    return voted


async def press_thumb(
    core: Core, place: Place, member: str, turn_id: int, value: VoteValue, *, update: str = ""
) -> Voted:
    """A thumb: the first one votes, the other one changes the vote, the same again takes it back.

    `update` is the delivery that brought it, which is finished thereby and counts once: a thumb delivered
    again would take its own vote back. Raises NotFound when there is no such turn at `place`.
    """
    async with core.database.session() as session:
        voter = await _voter(core, session, place, member, turn_id)
        before = await votes.vote_of(session, turn_id, voter.id or 0)
        if update and not await incoming.finish(session, place.platform, update):
            return Voted(before, before, changed=False)
        new: VoteValue = 0 if before == value else value
        voted = await votes.vote(session, turn_id=turn_id, member_id=voter.id or 0, value=new)
        await _count(core, session, turn_id, voted)
    return voted


async def take_back(core: Core, place: Place, member: str, turn_id: int, value: VoteValue) -> bool:
    """Take back the member's vote if it still is `value`; whether it was. Raises as `vote`."""
    async with core.database.session() as session:
        voter = await _voter(core, session, place, member, turn_id)
        if await votes.vote_of(session, turn_id, voter.id or 0) != value:
            return False
        await votes.vote(session, turn_id=turn_id, member_id=voter.id or 0, value=0)
    return True


async def _voter(core: Core, session: AsyncSession, place: Place, member: str, turn_id: int) -> Member:
    """The member who votes, after a look whether the turn is one of this community. Locks the turn."""
    community = await journal.community(session, place.platform, place.community)
    await journal.turn_in(session, turn_id, community)
    await journal.locked_turn(session, turn_id)
    return await journal.member(session, place.platform, core.pseudonym(place.platform, member))


async def _count(core: Core, session: AsyncSession, turn_id: int, voted: Voted) -> None:
    """Count the vote for the adapter whose answer it is on."""
    if voted.after == voted.before or not voted.after:
        return
    turn = await journal.find_turn(session, turn_id)
    adapter = await session.get(Adapter, turn.adapter_id) if turn.adapter_id is not None else None
    label = registry.label(adapter) if adapter else registry.BASE
    core.metrics.votes.labels(label, "up" if voted.after > 0 else "down").inc()
