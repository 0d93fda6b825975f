"""What Telegram refuses at the start or while listening, as a sentence for the operator."""

from __future__ import annotations

from typing import Self

from feedback.errors import ThumbloopError


class TelegramRefused(ThumbloopError):
    """Telegram does not let the bot in."""

    is_public = True

    @classmethod
    def token(cls) -> Self:
        """The token is wrong."""
        return cls(
            "Telegram refused the bot token.",
            "Ask @BotFather for it (/token) and copy it into THUMBLOOP_TELEGRAM__TOKEN.",
        )

    @classmethod
    def conflict(cls) -> Self:
        """Somebody else polls with the same token."""
        return cls(
            "Another process fetches this Telegram bot's updates, so this one stops.",
            "Stop the other one, or give each its own bot from @BotFather (THUMBLOOP_TELEGRAM__TOKEN).",
        )

    @classmethod
    def webhook(cls, why: str) -> Self:
        """Telegram does not accept the webhook's address."""
        return cls(
            f"Telegram refused the webhook: {why}.",
            "Set THUMBLOOP_TELEGRAM__WEBHOOK_URL to a public https address, or leave it empty to poll.",
        )
