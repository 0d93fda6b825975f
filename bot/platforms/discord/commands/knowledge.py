"""/knowledge: what a server gives its bot to read; for moderators, and only they see it."""

from __future__ import annotations

import discord
from discord import app_commands

from bot.access.actor import Actor
from bot.chat import documents
from bot.knowledge.documents.library import Given, Upload
from bot.platforms.discord import texts
from bot.platforms.discord.context import DiscordContext, Interaction, language_of, say
from bot.platforms.discord.permissions import MODERATES, authorised
from bot.platforms.discord.texts import localised
from bot.texts import KNOWLEDGE_ABOUT

MOST_CHARACTERS = 2000

knowledge = app_commands.Group(
    name=localised(texts.KNOWLEDGE),
    description=localised(KNOWLEDGE_ABOUT),
    guild_only=True,
    default_permissions=MODERATES,
)


@knowledge.command(name=localised(texts.KNOWLEDGE_ADD), description=localised(texts.KNOWLEDGE_ADD_ABOUT))
@app_commands.rename(file=localised(texts.KNOWLEDGE_FILE), link=localised(texts.KNOWLEDGE_LINK))
@app_commands.describe(file=localised(texts.KNOWLEDGE_FILE_ABOUT), link=localised(texts.KNOWLEDGE_LINK_ABOUT))
async def add(interaction: Interaction, file: discord.Attachment | None = None, link: str = "") -> None:
    """Add a file that was attached, or what stands at an address."""
    context, actor, community = await _asked(interaction)
    language = language_of(interaction)
    if file is None and not link.strip():
        await say(interaction, texts.KNOWLEDGE_WHAT.say(language))
        return
    await interaction.response.defer(ephemeral=True, thinking=True)
    given: Given = link.strip() if file is None else Upload(file.filename, await file.read())
    await _say(interaction, await documents.add(context, actor, community, given, language))


@knowledge.command(name=localised(texts.KNOWLEDGE_LIST), description=localised(texts.KNOWLEDGE_LIST_ABOUT))
async def listed(interaction: Interaction) -> None:
    """List the server's documents."""
    context, actor, community = await _asked(interaction)
    await _say(interaction, await documents.listed(context, actor, community, language_of(interaction)))


@knowledge.command(name=localised(texts.KNOWLEDGE_SHOW), description=localised(texts.KNOWLEDGE_SHOW_ABOUT))
@app_commands.rename(document=localised(texts.KNOWLEDGE_DOCUMENT))
@app_commands.describe(document=localised(texts.KNOWLEDGE_DOCUMENT_ABOUT))
async def show(interaction: Interaction, document: str) -> None:
    """Show a document with the beginning of what it says."""
    context, actor, community = await _asked(interaction)
    said = await documents.shown(context, actor, community, document.strip(), language_of(interaction))
    await _say(interaction, said)


@knowledge.command(
    name=localised(texts.KNOWLEDGE_REMOVE), description=localised(texts.KNOWLEDGE_REMOVE_ABOUT)
)
@app_commands.rename(document=localised(texts.KNOWLEDGE_DOCUMENT))
@app_commands.describe(document=localised(texts.KNOWLEDGE_DOCUMENT_ABOUT))
async def remove(interaction: Interaction, document: str) -> None:
    """Take a document out."""
    context, actor, community = await _asked(interaction)
    said = await documents.remove(context, actor, community, document.strip(), language_of(interaction))
    await _say(interaction, said)


@knowledge.command(
    name=localised(texts.KNOWLEDGE_REFRESH), description=localised(texts.KNOWLEDGE_REFRESH_ABOUT)
)
@app_commands.rename(document=localised(texts.KNOWLEDGE_DOCUMENT))
@app_commands.describe(document=localised(texts.KNOWLEDGE_DOCUMENT_ABOUT))
async def refresh(interaction: Interaction, document: str | None = None) -> None:
    """Read a document, or all of the server's, anew."""
    context, actor, community = await _asked(interaction)
    await interaction.response.defer(ephemeral=True, thinking=True)
    said = await documents.refresh(context, actor, community, document, language_of(interaction))
    await _say(interaction, said)


async def _asked(interaction: Interaction) -> tuple[DiscordContext, Actor, int]:
    """Who asks, and for which community. Raises NotAllowed."""
    context = DiscordContext.of(interaction)
    actor = await authorised(context, interaction, "documents.manage")
    community = await context.community(interaction.guild)
    return context, actor, community.community_id


async def _say(interaction: Interaction, text: str) -> None:
    await say(interaction, text[:MOST_CHARACTERS])
