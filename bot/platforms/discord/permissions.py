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
from bot.platforms.discord.context import DIRECT, PLATFORM, DiscordContext, Interaction

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


async def role_of(context: DiscordContext, member_id: str, guild_id: str) -> Role | None:
    """What somebody is on a server now; None once they have left it. Raises discord.DiscordException."""
    if int(member_id) in context.settings.operators:
        return "operator"
    if guild_id == DIRECT:
        return "member"
    guild = context.client.get_guild(int(guild_id))
    if guild is None:
        raise discord.ClientException("that server is not known now")
    try:
        member = await guild.fetch_member(int(member_id))  # what is cached may be older than the change
    except discord.NotFound:
        return None
    community = await context.community(guild)
    return _role_with(context, member, member.guild_permissions, community)


def _role(context: DiscordContext, interaction: Interaction, community: CommunitySettings) -> Role:
    if interaction.user.id in context.settings.operators:
        return "operator"
    if interaction.guild is None or not isinstance(interaction.user, discord.Member):
        return "member"
    return _role_with(context, interaction.user, interaction.permissions, community)


def _role_with(
    context: DiscordContext,
    member: discord.Member,
    permissions: discord.Permissions,
    community: CommunitySettings,
) -> Role:
    if permissions.manage_guild:
        return "administrator" if context.settings.operators else "operator"
    if permissions.manage_messages:
        return "moderator"
    named = set(community.moderator_roles)
    return "moderator" if any(str(role.id) in named for role in member.roles) else "member"
