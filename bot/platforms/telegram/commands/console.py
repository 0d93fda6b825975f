"""/console: a link that signs whoever asked in to the web console, sent to them alone."""

from __future__ import annotations

from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.error import Forbidden

from bot.chat.console_link import console_link
from bot.platforms.telegram import texts
from bot.platforms.telegram.context import Caller, TelegramContext
from bot.platforms.telegram.permissions import actor_of


async def console(context: TelegramContext, caller: Caller, words: str) -> None:
    """Send the link: from a group, for that group, to the private chat of whoever asked."""
    said = await console_link(
        context.core,
        await actor_of(context, caller),
        external_id=caller.member,
        everywhere=int(caller.member) in context.settings.operators,
        language=caller.language,
    )
    if caller.private:
        await context.say(caller, said)
        return
    try:
        await context.bot.send_message(int(caller.member), said)
    except Forbidden:  # a bot may not write first
        url = f"https://t.me/{context.bot.username}?start=console"
        button = InlineKeyboardButton(texts.OPEN_PRIVATE.say(caller.language), url=url)
        await context.say(
            caller, texts.CONSOLE_START_FIRST.say(caller.language), InlineKeyboardMarkup([[button]])
        )
        return
    await context.say(caller, texts.CONSOLE_SENT.say(caller.language))
