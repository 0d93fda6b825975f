"""What Discord refuses, as a sentence for the operator."""

from __future__ import annotations

from typing import Self

from feedback.errors import ThumbloopError


class DiscordRefused(ThumbloopError):
    """Discord does not let the bot in."""

    is_public = True

    @classmethod
    def token(cls) -> Self:
        """The token is wrong."""
        return cls(
            "Discord refused the bot token.",
            "Copy it anew from https://discord.com/developers/applications (Bot, Reset Token) into "
            "THUMBLOOP_DISCORD__TOKEN.",
        )

    @classmethod
    def message_content(cls) -> Self:
        """The message-content intent is not switched on."""
        return cls(
            "Discord does not let this bot read messages.",
            "Switch on Message Content Intent at https://discord.com/developers/applications (Bot, "
            "Privileged Gateway Intents), and start again.",
        )

    @classmethod
    def commands(cls, why: str) -> Self:
        """Discord does not take the slash commands, or answers what cannot be understood."""
        return cls(
            f"Discord did not take the slash commands: {why}",
            "Mentions and direct messages are answered without them; the upload is tried again by itself.",
        )
