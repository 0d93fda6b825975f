"""Who may do what: a chat's administrators moderate and administer it, operators also the private chats.

Telegram is asked who administers a chat, and the answer is remembered briefly.
"""

from __future__ import annotations

import asyncio

from telegram.error import TelegramError

from bot.platforms.telegram.context import REMEMBERED_S, Caller, TelegramContext
from bot.texts import MODERATORS_ONLY, OPERATORS_ONLY, Text


async def may_administer(context: TelegramContext, caller: Caller) -> bool:
    """Whether the caller administers the chat, or is an operator."""
    if is_operator(context, caller):
        return True
    if caller.private:
        return False
    return caller.admin or int(caller.member) in await _administrators(context, caller.chat.id)


def is_operator(context: TelegramContext, caller: Caller) -> bool:
    """Whether the settings name the caller as an operator."""
    return int(caller.member) in context.settings.operators


async def refused_administration(context: TelegramContext, caller: Caller) -> bool:
    """Tell somebody who does not administer the chat so; whether it was told."""
    return await _refused(context, caller, await may_administer(context, caller), OPERATORS_ONLY)


async def refused_moderation(context: TelegramContext, caller: Caller) -> bool:
    """Tell somebody who does not moderate the chat so; whether it was told."""
    return await _refused(context, caller, await may_administer(context, caller), MODERATORS_ONLY)


async def refused_operation(context: TelegramContext, caller: Caller) -> bool:
    """Tell somebody who is no operator so; whether it was told."""
    return await _refused(context, caller, is_operator(context, caller), OPERATORS_ONLY)


async def _refused(context: TelegramContext, caller: Caller, may: bool, text: Text) -> bool:
    if may:
        return False
    if caller.query is not None:
        await context.toast(caller, text.say(caller.language), alert=True)
    else:
        await context.say(caller, text.say(caller.language))
    return True


async def _administrators(context: TelegramContext, chat: int) -> frozenset[int]:
    now = asyncio.get_running_loop().time()
    until, known = context.administrators.get(chat, (0.0, frozenset()))
    if until <= now:
        try:
            found = await context.bot.get_chat_administrators(chat)
        except TelegramError:  # nobody may do anything whom Telegram does not vouch for
            return frozenset()
        known = frozenset(one.user.id for one in found)
        context.administrators[chat] = (now + REMEMBERED_S, known)
    return known
