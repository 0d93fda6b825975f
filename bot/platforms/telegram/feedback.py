"""What members do with an answer: thumbs by button or reaction, reasons, a better one, once more, stop."""

from __future__ import annotations

from typing import Final

from telegram import MessageReactionUpdated, ReactionTypeEmoji

from bot.assistant import Place
from bot.chat.button_codes import ButtonCode
from bot.chat.live_answers import LiveAnswer
from bot.platforms.telegram.answering import answer_once_more
from bot.platforms.telegram.buttons import THUMBS, code_on, reason_buttons
from bot.platforms.telegram.context import PLATFORM, Caller, Desk, Spot
from bot.platforms.telegram.permissions import may_administer
from bot.platforms.telegram.texts import NOTHING_TO_STOP, REPLY_WITH_BETTER, STOPPING
from bot.texts import NO_LONGER_THERE, ONLY_THE_ASKER, VOTE_KEPT, VOTE_TAKEN_BACK
from feedback import journal
from feedback.errors import NotFound
from feedback.tables import Conversation, Member, Turn
from feedback.words import VOTE_REASONS, VoteValue

VALUES: Final[dict[str, VoteValue]] = {"up": 1, "down": -1}


async def thumb(desk: Desk, caller: Caller, code: ButtonCode) -> None:
    """Vote; a thumb down is kept at once, and a message asks what was wrong."""
    async with desk.in_order.of(caller.chat.id, caller.message.message_id, caller.member):
        await turn_here(desk, caller, code.turn_id)
        voted = await desk.assistant.tap(
            desk.place(caller.chat), caller.member, code.turn_id, VALUES[code.action]
        )
    if voted.after == 0:
        await desk.toast(caller, VOTE_TAKEN_BACK.say(caller.language))
        return
    await desk.toast(caller, VOTE_KEPT.say(caller.language))
    if voted.after < 0:
        spot = Spot(caller.chat.id, caller.spot.thread, caller.message.message_id)
        text = REPLY_WITH_BETTER.say(caller.language)
        await desk.send(spot, text, reason_buttons(code.turn_id, caller.language))


async def reason(desk: Desk, caller: Caller, code: ButtonCode) -> None:
    """Add what was wrong to the member's thumb down."""
    number = int(code.detail) if code.detail.isdigit() else len(VOTE_REASONS)
    if number >= len(VOTE_REASONS):
        await desk.toast(caller, NO_LONGER_THERE.say(caller.language))
        return
    chosen = VOTE_REASONS[number]
    await turn_here(desk, caller, code.turn_id)
    await desk.assistant.vote(desk.place(caller.chat), caller.member, code.turn_id, -1, reason=chosen)
    await desk.toast(caller, VOTE_KEPT.say(caller.language))
    keyboard = reason_buttons(code.turn_id, caller.language, chosen)
    await desk.change(caller, REPLY_WITH_BETTER.say(caller.language), keyboard)


async def better_answer(desk: Desk, caller: Caller) -> bool:
    """Take a reply to our asking what was wrong as a better answer; False when it is no such reply.

    Only of a member whose thumb is down: another's reply is just talk.
    """
    asked = caller.message.reply_to_message
    code = code_on(asked, "reason") if asked is not None else None
    if code is None:
        return False
    text = (caller.message.text or "").strip()
    place = desk.place(caller.chat)
    if text and await _vote_of(desk, place, caller.member, code.turn_id) < 0:
        await desk.assistant.vote(place, caller.member, code.turn_id, -1, suggested_answer=text)
        await desk.say(caller, VOTE_KEPT.say(caller.language))
    return True


async def again(desk: Desk, caller: Caller, code: ButtonCode) -> None:
    """Answer the question once more; only for who asked it, and for administrators."""
    turn, conversation = await turn_here(desk, caller, code.turn_id)
    if not await is_asker(desk, caller, turn):
        await desk.toast(caller, ONLY_THE_ASKER.say(caller.language), alert=True)
        return
    place = desk.place(caller.chat, conversation)
    question = await desk.assistant.once_more(place, caller.member, code.turn_id)
    await desk.toast(caller)
    await answer_once_more(desk, caller, question, asked_in(turn) if not caller.private else 0)


async def stop(desk: Desk, caller: Caller, code: ButtonCode) -> None:
    """Stop the answer that is being written; only for who asked, and for administrators."""
    live = desk.answers.find(desk.place(caller.chat).community, code.detail)
    if live is None:
        await desk.toast(caller, NOTHING_TO_STOP.say(caller.language))
    elif live.question.member != caller.member and not await may_administer(desk, caller):
        await desk.toast(caller, ONLY_THE_ASKER.say(caller.language), alert=True)
    else:
        live.interrupt("stopped")
        await desk.toast(caller, STOPPING.say(caller.language))


async def stop_mine(desk: Desk, caller: Caller) -> None:
    """`/stop`: end the caller's own answers here; drafts carry no buttons."""
    mine = [live for live in live_in(desk, caller) if live.question.member == caller.member]
    for live in mine:
        live.interrupt("stopped")
    if not mine:
        await desk.say(caller, NOTHING_TO_STOP.say(caller.language))


def live_in(desk: Desk, caller: Caller) -> list[LiveAnswer]:
    """The answers under way in the caller's chat."""
    prefix = f"{desk.key(caller.chat)}-"
    return [live for live in desk.answers.all() if live.question.external_id.startswith(prefix)]


async def reacted(desk: Desk, event: MessageReactionUpdated) -> None:
    """Count a 👍 or 👎 under an answer as a vote, and take it back with the reaction."""
    if event.user is None or event.user.is_bot:
        return
    place, member = desk.place(event.chat), str(event.user.id)
    old = {one.emoji for one in event.old_reaction if isinstance(one, ReactionTypeEmoji)}
    new = {one.emoji for one in event.new_reaction if isinstance(one, ReactionTypeEmoji)}
    async with desk.in_order.of(event.chat.id, event.message_id, member):
        turn = await answer_shown_by(desk, place, desk.message_key(event.chat, event.message_id))
        if turn is None or turn.id is None:
            return
        for emoji, action in THUMBS.items():
            if emoji in old - new:
                await desk.assistant.take_back(place, member, turn.id, VALUES[action])
        for emoji, action in THUMBS.items():
            if emoji in new - old:
                await desk.assistant.vote(place, member, turn.id, VALUES[action])


async def answer_shown_by(desk: Desk, place: Place, message: str) -> Turn | None:
    """The turn whose answer that message shows, if it shows one."""
    async with desk.assistant.database.session(read_only=True) as session:
        row = await journal.community_of(session, PLATFORM, place.community)
        return await journal.turn_of_message(session, row.id or 0, message) if row else None


async def turn_here(desk: Desk, caller: Caller, turn_id: int) -> tuple[Turn, str]:
    """The turn and its conversation's name. Raises NotFound for another chat's, whatever a button claims."""
    async with desk.assistant.database.session(read_only=True) as session:
        row = await journal.community_of(session, PLATFORM, desk.place(caller.chat).community)
        turn = await journal.find_turn(session, turn_id)
        if row is None or turn.community_id != row.id:
            raise NotFound("turn", turn_id)
        conversation = (await session.get_one(Conversation, turn.conversation_id)).external_id
    if caller.private and not conversation.startswith(desk.key(caller.chat)):
        raise NotFound("turn", turn_id)
    return turn, conversation


async def is_asker(desk: Desk, caller: Caller, turn: Turn) -> bool:
    """Whether the caller asked that question, or administers the chat."""
    async with desk.assistant.database.session(read_only=True) as session:
        asker = await session.get(Member, turn.member_id) if turn.member_id is not None else None
    pseudonym = desk.assistant.pseudonym(PLATFORM, caller.member)
    return (asker is not None and asker.pseudonym == pseudonym) or await may_administer(desk, caller)


def asked_in(turn: Turn) -> int:
    """The number of the message that asked a turn's question, also when it was asked once more; 0 is none."""
    number = turn.external_id.rpartition("-")[2].partition(".")[0]
    return int(number) if number.isdigit() else 0


async def _vote_of(desk: Desk, place: Place, member: str, turn_id: int) -> int:
    async with desk.assistant.database.session() as session:
        row = await journal.community_of(session, PLATFORM, place.community)
        turn = await journal.find_turn(session, turn_id)
        if row is None or turn.community_id != row.id:
            return 0
        voter = await journal.member(session, PLATFORM, desk.assistant.pseudonym(PLATFORM, member))
        return await journal.vote_of(session, turn_id, voter.id or 0)
