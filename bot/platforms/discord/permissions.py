"""Who may do what, checked on our side again after Discord's own permissions for commands.

Moderators have a role that the server's settings name, or may manage messages; administrators may manage
the server. Operators are those whom the settings name, or, where they name nobody, the administrators. In
direct messages nobody moderates.
"""

from __future__ import annotations

import discord

from bot.platforms.discord.context import DiscordContext, Interaction, language_of, say
from bot.texts import BOTS_OPERATORS_ONLY, MODERATORS_ONLY, OPERATORS_ONLY, Text

MODERATES = discord.Permissions(manage_messages=True)
ADMINISTERS = discord.Permissions(manage_guild=True)


async def may_moderate(context: DiscordContext, interaction: Interaction) -> bool:
    """Whether the member moderates the server."""
    if interaction.guild is None or not isinstance(interaction.user, discord.Member):
        return False
    if interaction.permissions.manage_messages or interaction.permissions.manage_guild:
        return True
    named = set((await context.community(interaction.guild)).moderator_roles)
    return any(str(role.id) in named for role in interaction.user.roles)


def may_administer(interaction: Interaction) -> bool:
    """Whether the member manages the server."""
    return interaction.guild is not None and interaction.permissions.manage_guild


def may_operate(context: DiscordContext, interaction: Interaction) -> bool:
    """Whether the member may do what concerns every community, such as starting a run."""
    named = context.settings.operators
    return interaction.user.id in named if named else may_administer(interaction)


async def refused_moderation(context: DiscordContext, interaction: Interaction) -> bool:
    """Tell a member who does not moderate so; whether it was told."""
    if await may_moderate(context, interaction):
        return False
    await say(interaction, MODERATORS_ONLY.say(language_of(interaction)))
    return True


async def refused_administration(interaction: Interaction) -> bool:
    """Tell a member who does not manage the server so; whether it was told."""
    return await _refused(interaction, may_administer(interaction), OPERATORS_ONLY)


async def refused_operation(context: DiscordContext, interaction: Interaction) -> bool:
    """Tell a member who does not operate the bot so; whether it was told."""
    told = BOTS_OPERATORS_ONLY if context.settings.operators else OPERATORS_ONLY
    return await _refused(interaction, may_operate(context, interaction), told)


async def _refused(interaction: Interaction, may: bool, told: Text) -> bool:
    if may:
        return False
    await say(interaction, told.say(language_of(interaction)))
    return True
