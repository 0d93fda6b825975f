"""What members do with an answer: thumbs by button or reaction, reasons, once more, stop, on in a thread."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import discord
import structlog
from discord import ui

from bot.chat import feedback
from bot.chat.button_codes import Action, ButtonCode
from bot.chat.feedback import THUMBS
from bot.chat.turns import turn_at
from bot.platforms.discord.answering import answer_interaction
from bot.platforms.discord.buttons import Form, text_field
from bot.platforms.discord.context import Answered, DiscordContext, Interaction, language_of, place_in, say
from bot.platforms.discord.permissions import actor_of
from bot.platforms.discord.texts import GO_ON_HERE, HERE_ALREADY, NO_THREAD
from bot.texts import BETTER_ANSWER, REASONS, WHAT_WAS_WRONG
from feedback import journal
from feedback.words import Language

SKIN_TONES: Final = dict.fromkeys(range(0x1F3FB, 0x1F400))
THREAD_NAME: Final = 80

log = structlog.get_logger(__name__)


async def thumb(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Vote; a thumb down is kept at once, and its form asks what was wrong."""
    message = str(interaction.message.id) if interaction.message else ""
    place, member = place_in(interaction.guild), str(interaction.user.id)
    done = await feedback.thumb(context, place, member, code.turn_id, code.action, message=message)
    language = language_of(interaction)
    if done.asks_why:
        await interaction.response.send_modal(_reason_form(code.turn_id, language))
    else:
        await say(interaction, done.text.say(language))


async def reason(
    context: DiscordContext, interaction: Interaction, code: ButtonCode, answered: Answered
) -> None:
    """Add what was wrong, and a better answer, to the member's thumb down."""
    text = await feedback.explain(
        context,
        place_in(interaction.guild),
        str(interaction.user.id),
        code.turn_id,
        reason=answered.get("reason", [""])[0],
        better=answered.get("better", [""])[0],
    )
    await say(interaction, text.say(language_of(interaction)))


async def again(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Answer the question once more; only for who asked it, and for moderators."""
    actor, member = await actor_of(context, interaction), str(interaction.user.id)
    question = await feedback.once_more(context, place_in(interaction.guild), actor, member, code.turn_id)
    await answer_interaction(context, interaction, question, heading="")


async def go_on(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Go on with an answer that was cut off; only for who asked it, and for moderators."""
    actor, member = await actor_of(context, interaction), str(interaction.user.id)
    question = await feedback.go_on(context, place_in(interaction.guild), actor, member, code.turn_id)
    await answer_interaction(context, interaction, question, heading="")


async def stop(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Stop the answer that is being written; only for who asked, and for moderators."""
    actor = await actor_of(context, interaction)
    text = await feedback.stop(context, place_in(interaction.guild), actor, code.detail)
    await say(interaction, text.say(language_of(interaction)))


async def thread(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Let the conversation go on in a thread of its own, with all that was said."""
    turn, _ = await turn_at(context.core.database, place_in(interaction.guild), code.turn_id)
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
    action = _thumb(event.emoji)
    if action is None or event.user_id == context.me().id or (event.member is not None and event.member.bot):
        return
    if event.message_author_id is not None and event.message_author_id != context.me().id:
        return
    guild = context.client.get_guild(event.guild_id) if event.guild_id else None
    added = event.event_type == "REACTION_ADD"
    await feedback.react(
        context,
        place_in(guild),
        str(event.user_id),
        str(event.message_id),
        added=[action] if added else [],
        removed=[] if added else [action],
        standing=lambda: _standing(context, event),
    )


async def _standing(context: DiscordContext, event: discord.RawReactionActionEvent) -> Collection[Action]:
    """The thumbs that the member's reactions show now, which Discord has to be asked about."""
    channel = context.client.get_partial_messageable(event.channel_id)
    found: set[Action] = set()
    try:
        message = await channel.fetch_message(event.message_id)
        for reaction in message.reactions:
            action = _thumb(reaction.emoji)
            if action is not None:
                before = discord.Object(event.user_id - 1)
                if [user async for user in reaction.users(limit=1, after=before) if user.id == event.user_id]:
                    found.add(action)
    except discord.HTTPException as error:  # the channel is closed to us; the vote stays taken back
        log.info("reactions could not be read", message=event.message_id, why=str(error))
    return found


def _thumb(emoji: discord.PartialEmoji | discord.Emoji | str) -> Action | None:
    name = emoji if isinstance(emoji, str) else emoji.name
    custom = not isinstance(emoji, str) and emoji.id is not None
    return None if custom else THUMBS.get(name.translate(SKIN_TONES))


def _reason_form(turn_id: int, language: Language) -> Form:
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
    return Form(ButtonCode("reason", turn_id), WHAT_WAS_WRONG.say(language), wrong, better)
