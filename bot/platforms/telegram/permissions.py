"""What somebody is in a chat, as Telegram vouches for it; `bot.access` says what that lets them do.

A group's administrators administer and moderate it. Operators are those whom the settings name, also in
private chats. Telegram is asked who administers a chat, and the answer is remembered briefly.
"""

from __future__ import annotations

import asyncio

from telegram.constants import ChatMemberStatus
from telegram.error import TelegramError

from bot.access.actor import Actor, Role
from bot.access.rights import Action, require
from bot.platforms.telegram.context import DIRECT, PLATFORM, REMEMBERED_S, Caller, TelegramContext


async def actor_of(context: TelegramContext, caller: Caller) -> Actor:
    """The caller, and what they are in the chat."""
    community = await context.community(caller.chat)
    return Actor(
        PLATFORM,
        context.core.pseudonym(PLATFORM, caller.member),
        await _role(context, caller),
        community.community_id,
    )


async def authorised(context: TelegramContext, caller: Caller, action: Action) -> Actor:
    """The caller. Raises NotAllowed unless they may do that in this chat."""
    actor = await actor_of(context, caller)
    require(actor, action, actor.community_id)
    return actor


async def role_of(context: TelegramContext, member_id: str, chat_id: str) -> Role | None:
    """What somebody is in a chat now; None once they have left it. Raises TelegramError."""
    if int(member_id) in context.settings.operators:
        return "operator"
    if chat_id == DIRECT:
        return "member"
    status = (await context.bot.get_chat_member(int(chat_id), int(member_id))).status
    if status in (ChatMemberStatus.OWNER, ChatMemberStatus.ADMINISTRATOR):
        return "administrator"
    return None if status in (ChatMemberStatus.LEFT, ChatMemberStatus.BANNED) else "member"


async def _role(context: TelegramContext, caller: Caller) -> Role:
    if int(caller.member) in context.settings.operators:
        return "operator"
    if caller.private:
        return "member"
    if caller.admin or int(caller.member) in await _administrators(context, caller.chat.id):
        return "administrator"
    return "member"


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
