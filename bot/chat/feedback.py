"""What members do with an answer, the same on every platform: thumbs, reasons, once more, stop.

Platforms bring what was pressed and show what comes back. Presses of one member under one message count in
the order in which they came.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from typing import Final

from bot.access.actor import Actor
from bot.access.rights import may
from bot.chat.button_codes import Action
from bot.chat.context import ChatContext
from bot.chat.turns import turn_at, turn_shown_by
from bot.commands import voting
from bot.errors import NotTheAsker
from bot.questions import Place, Question
from bot.texts import ANSWER_FINISHED, GO_ON, STOPPING, VOTE_KEPT, VOTE_TAKEN_BACK, Text
from feedback import journal, votes
from feedback.tables import Member, Turn
from feedback.words import VoteValue

THUMBS: Final[dict[str, Action]] = {"👍": "up", "👎": "down"}
VALUES: Final[dict[Action, VoteValue]] = {"up": 1, "down": -1}

Standing = Callable[[], Awaitable[Collection[Action]]]
"""Which thumbs a member's reactions show now."""


@dataclass(frozen=True)
class Thumbed:
    """What a thumb did: the text that says so, and whether to ask what was wrong."""

    text: Text
    asks_why: bool


async def thumb(
    context: ChatContext,
    place: Place,
    member: str,
    turn_id: int,
    thumb: Action,
    *,
    message: str,
    update: str = "",
) -> Thumbed:
    """Take a thumb pressed under a message: the other one changes the vote, the same one again takes it back.

    `update` is the delivery that brought it, which counts once (see `voting.press_thumb`).

    Raises NotFound for a turn that is not at `place`.
    """
    async with context.keyed_lock.of("votes", place.community, message, member):
        await turn_at(context.core.database, place, turn_id)
        voted = await voting.press_thumb(context.core, place, member, turn_id, VALUES[thumb], update=update)
    return Thumbed(VOTE_KEPT if voted.after else VOTE_TAKEN_BACK, asks_why=voted.after < 0)


async def explain(
    context: ChatContext, place: Place, member: str, turn_id: int, *, reason: str = "", better: str = ""
) -> Text:
    """Add what was wrong, or a better answer, to the member's thumb down. Raises as `thumb`."""
    await turn_at(context.core.database, place, turn_id)
    await voting.vote(
        context.core, place, member, turn_id, VALUES["down"], reason=reason, suggested_answer=better.strip()
    )
    return VOTE_KEPT


async def vote_of(context: ChatContext, place: Place, member: str, turn_id: int) -> int:
    """The member's vote on a turn; 0 is none. Raises as `thumb`."""
    turn, _ = await turn_at(context.core.database, place, turn_id)
    async with context.core.database.session() as session:
        voter = await journal.member(session, place.platform, context.core.pseudonym(place.platform, member))
        return await votes.vote_of(session, turn.id or 0, voter.id or 0)


async def react(
    context: ChatContext,
    place: Place,
    member: str,
    message: str,
    *,
    added: Collection[Action],
    removed: Collection[Action],
    standing: Standing,
) -> None:
    """Count thumbs given as reactions to an answer, and take back what is taken away.

    Where a member's other thumb still stands when one is taken away, that one counts again. Reactions to
    anything but an answer count nothing.
    """
    async with context.keyed_lock.of("votes", place.community, message, member):
        turn = await turn_shown_by(context.core.database, place, message)
        if turn is None or turn.id is None:
            return
        for action in removed:
            if await voting.take_back(context.core, place, member, turn.id, VALUES[action]):
                for other in set(await standing()) - {action}:
                    await voting.vote(context.core, place, member, turn.id, VALUES[other])
        for action in added:
            await voting.vote(context.core, place, member, turn.id, VALUES[action])


async def once_more(context: ChatContext, place: Place, actor: Actor, member: str, turn_id: int) -> Question:
    """The question that answers a turn's question anew; only for who asked it, and for moderators.

    Raises NotTheAsker, NotFound for a turn that is not at `place`, and Conflict when its texts were erased.
    """
    turn, conversation = await turn_at(context.core.database, place, turn_id)
    await require_asker(context, actor, turn)
    return await context.assistant.once_more(replace(place, conversation=conversation), member, turn_id)


async def go_on(context: ChatContext, place: Place, actor: Actor, member: str, turn_id: int) -> Question:
    """The question that asks for more of an answer that was cut off. Raises as `once_more`."""
    turn, conversation = await turn_at(context.core.database, place, turn_id)
    await require_asker(context, actor, turn)
    text = GO_ON.pl if turn.language == "pl" else GO_ON.en
    return await context.assistant.go_on(replace(place, conversation=conversation), member, turn_id, text)


async def stop(context: ChatContext, place: Place, actor: Actor, question: str) -> Text:
    """Stop the answer to the question of that platform id. Raises NotTheAsker; moderators may, too."""
    live = context.answers.find(place.community, question)
    if live is None:
        return ANSWER_FINISHED
    asker = context.core.pseudonym(place.platform, live.question.member)
    if asker != actor.pseudonym and not may(actor, "answers.manage", actor.community_id):
        raise NotTheAsker
    live.interrupt("stopped")
    return STOPPING


async def require_asker(context: ChatContext, actor: Actor, turn: Turn) -> None:
    """Raise NotTheAsker unless the actor asked the turn's question, or may manage answers there."""
    if may(actor, "answers.manage", turn.community_id):
        return
    async with context.core.database.session(read_only=True) as session:
        asker = await session.get(Member, turn.member_id) if turn.member_id is not None else None
    if asker is None or (asker.platform, asker.pseudonym) != (actor.platform, actor.pseudonym):
        raise NotTheAsker
