"""Settings as members meet them: their own mode, and what a community hears about training."""

from __future__ import annotations

from typing import Final

from bot.access.actor import Actor
from bot.chat.context import ChatContext
from bot.commands.settings import CommunitySettings, set_member_mode
from bot.questions import Place
from bot.texts import MODE_SET, MODES, TRAINING_OFF, TRAINING_ON
from feedback.words import Language, Mode

LANGUAGE_NAMES: Final = {"en": "English", "pl": "Polski"}


async def set_mode(context: ChatContext, place: Place, member: Actor, mode: Mode, language: Language) -> str:
    """Answer this member in that mode from now on; the sentence that says so."""
    await set_member_mode(context.core.database, place, member, mode)
    return MODE_SET.say(language, mode=MODES[mode].say(language))


def public_language(settings: CommunitySettings) -> Language:
    """The language of announcements in a community."""
    return "pl" if settings.language == "pl" else "en"


def training_announcement(settings: CommunitySettings, *, allowed: bool) -> str:
    """What everybody in the community is told once what is said there may train the bot, or no longer may."""
    return (TRAINING_ON if allowed else TRAINING_OFF).say(public_language(settings))
