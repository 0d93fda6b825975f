"""What members do with an answer: thumbs by button or reaction, reasons, once more, stop, on in a thread."""

from __future__ import annotations

from typing import Any, Final

import discord
from discord import ui

from bot.assistant import Place
from bot.chat.button_codes import ButtonCode
from bot.platforms.discord.answering import answer_interaction
from bot.platforms.discord.buttons import THUMBS, Form, text_field
from bot.platforms.discord.context import (
    PLATFORM,
    Answered,
    DiscordContext,
    Interaction,
    language_of,
    place_in,
    say,
)
from bot.platforms.discord.permissions import may_moderate
from bot.platforms.discord.texts import (
    GO_ON_HERE,
    HERE_ALREADY,
    NO_THREAD,
    NOTHING_TO_STOP,
    STOPPING,
)
from bot.texts import (
    BETTER_ANSWER,
    ONLY_THE_ASKER,
    REASONS,
    VOTE_KEPT,
    VOTE_TAKEN_BACK,
    WHAT_WAS_WRONG,
)
from feedback import journal
from feedback.errors import NotFound
from feedback.tables import Conversation, Member, Turn
from feedback.words import VoteValue

VALUES: Final[dict[str, VoteValue]] = {"up": 1, "down": -1}
SKIN_TONES: Final = dict.fromkeys(range(0x1F3FB, 0x1F400))
THREAD_NAME: Final = 80


async def thumb(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Vote; a thumb down is kept at once, and its form asks what was wrong."""
    value = VALUES[code.action]
    member = str(interaction.user.id)
    place = place_in(interaction.guild)
    async with context.keyed_lock.of(interaction.message and interaction.message.id, member):
        voted = await context.assistant.tap(place, member, code.turn_id, value)
    language = language_of(interaction)
    if voted.after == 0:
        await say(interaction, VOTE_TAKEN_BACK.say(language))
    elif voted.after > 0:
        await say(interaction, VOTE_KEPT.say(language))
    else:
        wrong: ui.Label[Any] = ui.Label(
            text=WHAT_WAS_WRONG.say(language),
            component=ui.Select(
                custom_id="reason",
                required=False,
                options=[
                    discord.SelectOption(label=text.say(language), value=reason)
                    for reason, text in REASONS.items()
                ],
            ),
        )
        better = text_field("better", BETTER_ANSWER, language, required=False)
        form = Form(ButtonCode("reason", code.turn_id), WHAT_WAS_WRONG.say(language), wrong, better)
        await interaction.response.send_modal(form)


async def reason(
    context: DiscordContext, interaction: Interaction, code: ButtonCode, answered: Answered
) -> None:
    """Add what was wrong, and a better answer, to the member's thumb down."""
    await context.assistant.vote(
        place_in(interaction.guild),
        str(interaction.user.id),
        code.turn_id,
        -1,
        reason=answered.get("reason", [""])[0],
        suggested_answer=answered.get("better", [""])[0].strip(),
    )
    await say(interaction, VOTE_KEPT.say(language_of(interaction)))


async def again(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Answer the question once more; only for who asked it, and for moderators."""
    turn, conversation = await _turn_here(context, place_in(interaction.guild), code.turn_id)
    if not await _is_asker(context, interaction, turn):
        await say(interaction, ONLY_THE_ASKER.say(language_of(interaction)))
        return
    place = place_in(interaction.guild, conversation)
    question = await context.assistant.once_more(place, str(interaction.user.id), code.turn_id)
    await answer_interaction(context, interaction, question, heading="")


async def stop(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Stop the answer that is being written; only for who asked, and for moderators."""
    live = context.answers.find(place_in(interaction.guild).community, code.detail)
    language = language_of(interaction)
    if live is None:
        await say(interaction, NOTHING_TO_STOP.say(language))
    elif live.question.member != str(interaction.user.id) and not await may_moderate(context, interaction):
        await say(interaction, ONLY_THE_ASKER.say(language))
    else:
        live.interrupt("stopped")
        await say(interaction, STOPPING.say(language))


async def thread(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Let the conversation go on in a thread of its own, with all that was said."""
    turn, _ = await _turn_here(context, place_in(interaction.guild), code.turn_id)
    language = language_of(interaction)
    message, channel = interaction.message, interaction.channel
    if message is None or not isinstance(channel, discord.TextChannel) or message.thread is not None:
        await say(interaction, HERE_ALREADY.say(language))
        return
    try:
        opened = await message.create_thread(name=turn.question.strip()[:THREAD_NAME] or "…")
    except discord.Forbidden:
        await say(interaction, NO_THREAD.say(language))
        return
    async with context.core.database.session() as session:
        await journal.move_conversation(session, turn.conversation_id, str(opened.id))
    await say(interaction, GO_ON_HERE.say(language, thread=opened.mention))


async def reacted(context: DiscordContext, event: discord.RawReactionActionEvent) -> None:
    """Count a plain 👍 or 👎 under an answer as a vote, and take it back with the reaction."""
    action = THUMBS.get(event.emoji.name.translate(SKIN_TONES)) if event.emoji.is_unicode_emoji() else None
    if action is None or event.user_id == context.me().id or (event.member is not None and event.member.bot):
        return
    if event.message_author_id is not None and event.message_author_id != context.me().id:
        return
    guild = context.client.get_guild(event.guild_id) if event.guild_id else None
    place, member = place_in(guild), str(event.user_id)
    async with context.keyed_lock.of(event.message_id, member):
        turn = await answer_shown_by(context, place, event.message_id)
        if turn is None or turn.id is None:
            return
        if event.event_type == "REACTION_ADD":
            await context.assistant.vote(place, member, turn.id, VALUES[action])
        else:
            await context.assistant.take_back(place, member, turn.id, VALUES[action])


async def answer_shown_by(context: DiscordContext, place: Place, message_id: int) -> Turn | None:
    """The turn whose answer that message shows, if it shows one."""
    async with context.core.database.session(read_only=True) as session:
        row = await journal.community_of(session, PLATFORM, place.community)
        return await journal.turn_of_message(session, row.id or 0, str(message_id)) if row else None


async def _turn_here(context: DiscordContext, place: Place, turn_id: int) -> tuple[Turn, str]:
    """The turn and its conversation's platform id. Raises NotFound for another community's."""
    async with context.core.database.session(read_only=True) as session:
        row = await journal.community_of(session, PLATFORM, place.community)
        turn = await journal.find_turn(session, turn_id)
        if row is None or turn.community_id != row.id:
            raise NotFound("turn", turn_id)
        return turn, (await session.get_one(Conversation, turn.conversation_id)).external_id


async def _is_asker(context: DiscordContext, interaction: Interaction, turn: Turn) -> bool:
    async with context.core.database.session(read_only=True) as session:
        asker = await session.get(Member, turn.member_id) if turn.member_id is not None else None
    pseudonym = context.core.pseudonym(PLATFORM, str(interaction.user.id))
    return (asker is not None and asker.pseudonym == pseudonym) or await may_moderate(context, interaction)
