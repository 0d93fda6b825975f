"""/ask and /mode: what every member needs."""

from __future__ import annotations

from typing import cast

from discord import app_commands

from bot.chat.settings import set_mode
from bot.platforms.discord import texts
from bot.platforms.discord.answering import answer_interaction
from bot.platforms.discord.context import DiscordContext, Interaction, language_of, place_in, say
from bot.platforms.discord.questions import chain_id
from bot.platforms.discord.texts import localised
from bot.questions import Question
from bot.texts import ASK_ABOUT, MODE_ABOUT, MODES
from feedback.words import Mode

MODE_CHOICES = [
    app_commands.Choice(name=localised(text), value=cast(str, mode)) for mode, text in MODES.items()
]
QUOTED = 300


@app_commands.command(name=localised(texts.ASK), description=localised(ASK_ABOUT))
@app_commands.rename(question=localised(texts.QUESTION), mode=localised(texts.MODE))
@app_commands.describe(question=localised(texts.QUESTION_ABOUT), mode=localised(texts.MODE_ONCE))
@app_commands.choices(mode=MODE_CHOICES)
async def ask(
    interaction: Interaction,
    question: app_commands.Range[str, 1, 6000],
    mode: app_commands.Choice[str] | None = None,
) -> None:
    """Answer in the channel, under a quote of the question, which Discord would not show."""
    channel_id = interaction.channel_id or 0
    in_thread = interaction.guild is None or getattr(interaction.channel, "parent_id", None) is not None
    conversation = str(channel_id) if in_thread else chain_id(channel_id, interaction.id)
    asked = Question(
        place_in(interaction.guild, conversation),
        str(interaction.user.id),
        str(interaction.id),
        question,
        mode=cast(Mode, mode.value) if mode else None,
    )
    short = question if len(question) <= QUOTED else question[:QUOTED].rstrip() + "…"
    quote = "\n".join(f"> {line}" for line in short.splitlines())
    await answer_interaction(DiscordContext.of(interaction), interaction, asked, heading=quote)


@app_commands.command(name=localised(texts.MODE), description=localised(MODE_ABOUT))
@app_commands.rename(mode=localised(texts.MODE))
@app_commands.choices(mode=MODE_CHOICES)
async def mode(interaction: Interaction, mode: app_commands.Choice[str]) -> None:
    """Remember how this member wants to be answered."""
    context, language = DiscordContext.of(interaction), language_of(interaction)
    place, member = place_in(interaction.guild), context.member(interaction.user)
    await say(interaction, await set_mode(context, place, member, cast(Mode, mode.value), language))
