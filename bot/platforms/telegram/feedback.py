"""What members do with an answer: thumbs by button or reaction, reasons, a better one, once more, stop."""

from __future__ import annotations

from typing import Final

from telegram import MessageReactionUpdated, ReactionTypeEmoji

from bot.assistant import Place
from bot.chat.button_codes import ButtonCode
from bot.chat.live_answers import LiveAnswer
from bot.platforms.telegram.answering import answer_once_more
from bot.platforms.telegram.buttons import THUMBS, code_on, reason_buttons
from bot.platforms.telegram.context import PLATFORM, Caller, Spot, TelegramContext
from bot.platforms.telegram.permissions import may_administer
from bot.platforms.telegram.texts import NOTHING_TO_STOP, REPLY_WITH_BETTER, STOPPING
from bot.texts import NO_LONGER_THERE, ONLY_THE_ASKER, VOTE_KEPT, VOTE_TAKEN_BACK
from feedback import journal
from feedback.errors import NotFound
from feedback.tables import Conversation, Member, Turn
from feedback.words import VOTE_REASONS, VoteValue

VALUES: Final[dict[str, VoteValue]] = {"up": 1, "down": -1}


async def thumb(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Vote; a thumb down is kept at once, and a message asks what was wrong."""
    async with context.keyed_lock.of(caller.chat.id, caller.message.message_id, caller.member):
        await turn_here(context, caller, code.turn_id)
        voted = await context.assistant.tap(
            context.place(caller.chat), caller.member, code.turn_id, VALUES[code.action]
        )
    if voted.after == 0:
        await context.toast(caller, VOTE_TAKEN_BACK.say(caller.language))
        return
    await context.toast(caller, VOTE_KEPT.say(caller.language))
    if voted.after < 0:
        spot = Spot(caller.chat.id, caller.spot.thread, caller.message.message_id)
        text = REPLY_WITH_BETTER.say(caller.language)
        await context.send(spot, text, reason_buttons(code.turn_id, caller.language))


async def reason(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Add what was wrong to the member's thumb down."""
    number = int(code.detail) if code.detail.isdigit() else len(VOTE_REASONS)
    if number >= len(VOTE_REASONS):
        await context.toast(caller, NO_LONGER_THERE.say(caller.language))
        return
    chosen = VOTE_REASONS[number]
    await turn_here(context, caller, code.turn_id)
    await context.assistant.vote(context.place(caller.chat), caller.member, code.turn_id, -1, reason=chosen)
    await context.toast(caller, VOTE_KEPT.say(caller.language))
    keyboard = reason_buttons(code.turn_id, caller.language, chosen)
    await context.change(caller, REPLY_WITH_BETTER.say(caller.language), keyboard)


async def better_answer(context: TelegramContext, caller: Caller) -> bool:
    """Take a reply to our asking what was wrong as a better answer; False when it is no such reply.

    Only of a member whose thumb is down: another's reply is just talk.
    """
    asked = caller.message.reply_to_message
    code = code_on(asked, "reason") if asked is not None else None
    if code is None:
        return False
    text = (caller.message.text or "").strip()
    place = context.place(caller.chat)
    if text and await _vote_of(context, place, caller.member, code.turn_id) < 0:
        await context.assistant.vote(place, caller.member, code.turn_id, -1, suggested_answer=text)
        await context.say(caller, VOTE_KEPT.say(caller.language))
    return True


async def again(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Answer the question once more; only for who asked it, and for administrators."""
    turn, conversation = await turn_here(context, caller, code.turn_id)
    if not await is_asker(context, caller, turn):
        await context.toast(caller, ONLY_THE_ASKER.say(caller.language), alert=True)
        return
    place = context.place(caller.chat, conversation)
    question = await context.assistant.once_more(place, caller.member, code.turn_id)
    await context.toast(caller)
    await answer_once_more(context, caller, question, asked_in(turn) if not caller.private else 0)


async def stop(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Stop the answer that is being written; only for who asked, and for administrators."""
    live = context.answers.find(context.place(caller.chat).community, code.detail)
    if live is None:
        await context.toast(caller, NOTHING_TO_STOP.say(caller.language))
    elif live.question.member != caller.member and not await may_administer(context, caller):
        await context.toast(caller, ONLY_THE_ASKER.say(caller.language), alert=True)
    else:
        live.interrupt("stopped")
        await context.toast(caller, STOPPING.say(caller.language))


async def stop_mine(context: TelegramContext, caller: Caller) -> None:
    """`/stop`: end the caller's own answers here; drafts carry no buttons."""
    mine = [live for live in live_in(context, caller) if live.question.member == caller.member]
    for live in mine:
        live.interrupt("stopped")
    if not mine:
        await context.say(caller, NOTHING_TO_STOP.say(caller.language))


def live_in(context: TelegramContext, caller: Caller) -> list[LiveAnswer]:
    """The answers under way in the caller's chat."""
    prefix = f"{context.key(caller.chat)}-"
    return [live for live in context.answers.all() if live.question.external_id.startswith(prefix)]


async def reacted(context: TelegramContext, event: MessageReactionUpdated) -> None:
    """Count a 👍 or 👎 under an answer as a vote, and take it back with the reaction."""
    if event.user is None or event.user.is_bot:
        return
    place, member = context.place(event.chat), str(event.user.id)
    old = {one.emoji for one in event.old_reaction if isinstance(one, ReactionTypeEmoji)}
    new = {one.emoji for one in event.new_reaction if isinstance(one, ReactionTypeEmoji)}
    async with context.keyed_lock.of(event.chat.id, event.message_id, member):
        turn = await answer_shown_by(context, place, context.message_key(event.chat, event.message_id))
        if turn is None or turn.id is None:
            return
        for emoji, action in THUMBS.items():
            if emoji in old - new:
                await context.assistant.take_back(place, member, turn.id, VALUES[action])
        for emoji, action in THUMBS.items():
            if emoji in new - old:
                await context.assistant.vote(place, member, turn.id, VALUES[action])


async def answer_shown_by(context: TelegramContext, place: Place, message: str) -> Turn | None:
    """The turn whose answer that message shows, if it shows one."""
    async with context.core.database.session(read_only=True) as session:
        row = await journal.community_of(session, PLATFORM, place.community)
        return await journal.turn_of_message(session, row.id or 0, message) if row else None


async def turn_here(context: TelegramContext, caller: Caller, turn_id: int) -> tuple[Turn, str]:
    """The turn and its conversation's name. Raises NotFound for another chat's, whatever a button claims."""
    async with context.core.database.session(read_only=True) as session:
        row = await journal.community_of(session, PLATFORM, context.place(caller.chat).community)
        turn = await journal.find_turn(session, turn_id)
        if row is None or turn.community_id != row.id:
            raise NotFound("turn", turn_id)
        conversation = (await session.get_one(Conversation, turn.conversation_id)).external_id
    if caller.private and not conversation.startswith(context.key(caller.chat)):
        raise NotFound("turn", turn_id)
    return turn, conversation


async def is_asker(context: TelegramContext, caller: Caller, turn: Turn) -> bool:
    """Whether the caller asked that question, or administers the chat."""
    async with context.core.database.session(read_only=True) as session:
        asker = await session.get(Member, turn.member_id) if turn.member_id is not None else None
    pseudonym = context.core.pseudonym(PLATFORM, caller.member)
    return (asker is not None and asker.pseudonym == pseudonym) or await may_administer(context, caller)


def asked_in(turn: Turn) -> int:
    """The number of the message that asked a turn's question, also when it was asked once more; 0 is none."""
    number = turn.external_id.rpartition("-")[2].partition(".")[0]
    return int(number) if number.isdigit() else 0


async def _vote_of(context: TelegramContext, place: Place, member: str, turn_id: int) -> int:
    async with context.core.database.session() as session:
        row = await journal.community_of(session, PLATFORM, place.community)
        turn = await journal.find_turn(session, turn_id)
        if row is None or turn.community_id != row.id:
            return 0
        voter = await journal.member(session, PLATFORM, context.core.pseudonym(PLATFORM, member))
        return await journal.vote_of(session, turn_id, voter.id or 0)
