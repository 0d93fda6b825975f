"""/rate: answers rated blind, a tap for each score; only whose card it is may tap on it."""

from __future__ import annotations

from bot.chat import rating
from bot.chat.button_codes import ButtonCode
from bot.chat.rating import RatingCard
from bot.platforms.telegram.buttons import rows
from bot.platforms.telegram.context import Caller, TelegramContext
from bot.platforms.telegram.permissions import authorised
from feedback.words import Language


async def rate(context: TelegramContext, caller: Caller, words: str) -> None:
    """Show the next question whose answers this moderator has not rated."""
    actor = await authorised(context, caller, "answers.rate")
    card = await rating.next_card(context, actor, caller.language)
    buttons = (card.digits(), card.others(caller.language))
    await context.say(caller, _drawn(card, caller.language), rows(*buttons) if any(buttons) else None)


async def tapped(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Take a score, go back, pass over or take back, and let the card show what comes next."""
    actor = await authorised(context, caller, "answers.rate")
    card = await rating.tapped(context, actor, code, caller.language)
    await context.toast(caller, card.said)
    buttons = (card.digits(), card.others(caller.language))
    await context.change(caller, _drawn(card, caller.language), rows(*buttons) if any(buttons) else None)


def _drawn(card: RatingCard, language: Language) -> str:
    parts = [f"**{title}**\n{text}" for title, text in card.sections(language)]
    return "\n\n".join(filter(None, (card.said, *parts, card.prompt(language))))
