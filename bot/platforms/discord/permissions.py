"""What a member is on a server, as Discord vouches for it; `bot.access` says what that lets them do.

Moderators have a role that the server's settings name, or may manage messages; administrators may manage
the server. Operators are those whom the settings name, or, where they name nobody, the administrators, each
for their own server. In direct messages nobody moderates.
"""

from __future__ import annotations

import discord

from bot.access.actor import Actor, Role
from bot.access.rights import Action, require
from bot.commands.settings import CommunitySettings
from bot.platforms.discord.context import PLATFORM, DiscordContext, Interaction

MODERATES = discord.Permissions(manage_messages=True)
ADMINISTERS = discord.Permissions(manage_guild=True)


async def actor_of(context: DiscordContext, interaction: Interaction) -> Actor:
    """Who used a command or button, and what they are on its server."""
    community = await context.community(interaction.guild)
    return Actor(
        PLATFORM,
        context.core.pseudonym(PLATFORM, str(interaction.user.id)),
        _role(context, interaction, community),
        community.community_id,
    )


async def authorised(context: DiscordContext, interaction: Interaction, action: Action) -> Actor:
    """Who used it. Raises NotAllowed unless they may do that on this server."""
    actor = await actor_of(context, interaction)
    require(actor, action, actor.community_id)
    return actor


def _role(context: DiscordContext, interaction: Interaction, community: CommunitySettings) -> Role:
    operators = context.settings.operators
    if interaction.user.id in operators:
        return "operator"
    if interaction.guild is None or not isinstance(interaction.user, discord.Member):
        return "member"
    if interaction.permissions.manage_guild:
        return "administrator" if operators else "operator"
    if interaction.permissions.manage_messages:
        return "moderator"
    named = set(community.moderator_roles)
    return "moderator" if any(str(role.id) in named for role in interaction.user.roles) else "member"
