"""Who may do what: a chat's administrators moderate and administer it, operators also the private chats.

Telegram is asked who administers a chat, and the answer is remembered briefly.
"""

from __future__ import annotations

import asyncio

from telegram.error import TelegramError

from bot.platforms.telegram.context import REMEMBERED_S, Caller, Desk
from bot.texts import MODERATORS_ONLY, OPERATORS_ONLY, Text


async def may_administer(desk: Desk, caller: Caller) -> bool:
    """Whether the caller administers the chat, or is an operator."""
    if is_operator(desk, caller):
        return True
    if caller.private:
        return False
    return caller.admin or int(caller.member) in await _administrators(desk, caller.chat.id)


def is_operator(desk: Desk, caller: Caller) -> bool:
    """Whether the settings name the caller as an operator."""
    return int(caller.member) in desk.settings.operators


async def refused_administration(desk: Desk, caller: Caller) -> bool:
    """Tell somebody who does not administer the chat so; whether it was told."""
    return await _refused(desk, caller, await may_administer(desk, caller), OPERATORS_ONLY)


async def refused_moderation(desk: Desk, caller: Caller) -> bool:
    """Tell somebody who does not moderate the chat so; whether it was told."""
    return await _refused(desk, caller, await may_administer(desk, caller), MODERATORS_ONLY)


async def refused_operation(desk: Desk, caller: Caller) -> bool:
    """Tell somebody who is no operator so; whether it was told."""
    return await _refused(desk, caller, is_operator(desk, caller), OPERATORS_ONLY)


async def _refused(desk: Desk, caller: Caller, may: bool, text: Text) -> bool:
    if may:
        return False
    if caller.query is not None:
        await desk.toast(caller, text.say(caller.language), alert=True)
    else:
        await desk.say(caller, text.say(caller.language))
    return True


async def _administrators(desk: Desk, chat: int) -> frozenset[int]:
    now = asyncio.get_running_loop().time()
    until, known = desk.administrators.get(chat, (0.0, frozenset()))
    if until <= now:
        try:
            found = await desk.bot.get_chat_administrators(chat)
        except TelegramError:  # nobody may do anything whom Telegram does not vouch for
            return frozenset()
        known = frozenset(one.user.id for one in found)
        desk.administrators[chat] = (now + REMEMBERED_S, known)
    return known
