"""What every part of the Discord bot works with.

One `DiscordContext` per client. Interactions find it through their client (`DiscordContext.of`), so that
buttons and forms sent weeks ago, by another process, work like new ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, cast

import discord

from bot.access.actor import Actor
from bot.chat.button_codes import Action, ButtonCode
from bot.chat.context import ChatContext
from bot.chat.edge import guarded, tell_error
from bot.commands.settings import CommunitySettings
from bot.platforms.discord.typing_signs import TypingSigns
from bot.questions import Place
from bot.settings import DiscordSettings
from feedback.words import Language, Platform

PLATFORM: Final[Platform] = "discord"
DIRECT: Final = "direct"
"""The community of all direct messages; no guild has that id."""

MOST_CHOICES: Final = 25
"""How many choices Discord shows while somebody types."""

MOST_SEEN: Final = 20_000
"""How many messages are remembered, so that one delivered twice counts once."""

Interaction = discord.Interaction[Any]
Answered = dict[str, list[str]]
"""A form as it was sent: by field, one text or the options chosen."""

OnButton = Callable[["DiscordContext", Interaction, ButtonCode], Awaitable[None]]
OnForm = Callable[["DiscordContext", Interaction, ButtonCode, Answered], Awaitable[None]]


@dataclass(kw_only=True)
class DiscordContext(ChatContext):
    """What the Discord bot works with: its client, and what every chat platform has."""

    client: discord.Client
    settings: DiscordSettings
    on_button: dict[Action, OnButton]
    on_form: dict[Action, OnForm]
    typing: TypingSigns = field(default_factory=TypingSigns)
    _seen: OrderedDict[int, None] = field(default_factory=OrderedDict)

    @staticmethod
    def of(interaction: Interaction) -> DiscordContext:
        """The context of the client that received the interaction."""
        return cast(_HasContext, interaction.client).context

    def me(self) -> discord.ClientUser:
        """The bot's own account."""
        assert self.client.user is not None, "events come after the login"
        return self.client.user

    async def community(self, guild: discord.Guild | None) -> CommunitySettings:
        """The community's settings."""
        return await self.communities.settings(place_in(guild))

    def is_first(self, message_id: int) -> bool:
        """Whether that message is new; Discord may deliver one more than once."""
        first = message_id not in self._seen
        self._seen[message_id] = None
        if len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)
        return first

    def member(self, user: discord.abc.User) -> Actor:
        """A user as a plain member, whatever their role on a server."""
        return Actor(PLATFORM, self.core.pseudonym(PLATFORM, str(user.id)))


class _HasContext(Protocol):
    context: DiscordContext


def place_in(guild: discord.Guild | None, conversation: str = "") -> Place:
    """A place in a guild's community, or (None) among the direct messages."""
    if guild is None:
        return Place(PLATFORM, DIRECT, conversation, "Direct messages")
    return Place(PLATFORM, str(guild.id), conversation, guild.name)


def language_of(interaction: Interaction) -> Language:
    """The language of the member's own Discord, for what only they see."""
    return "pl" if interaction.locale is discord.Locale.polish else "en"


async def say(interaction: Interaction, text: str, **more: Any) -> None:
    """Tell the member something that nobody else sees."""
    if interaction.response.is_done():
        await interaction.followup.send(text, ephemeral=True, **more)
    else:
        await interaction.response.send_message(text, ephemeral=True, **more)


async def say_errors_of(interaction: Interaction, work: Awaitable[None]) -> None:
    """Do what the member asked for; what goes wrong, only they see."""
    await guarded(work, language_of(interaction), partial(say, interaction))


async def say_error(interaction: Interaction, error: Exception) -> None:
    """Tell the member what went wrong, where only they see it."""
    await tell_error(error, language_of(interaction), partial(say, interaction))
