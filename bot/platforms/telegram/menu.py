"""The command menu: what each scope is offered, in each language; uploaded only when it changed."""

from __future__ import annotations

import hashlib
import json
from typing import Final

import structlog
from telegram import (
    BotCommand,
    BotCommandScope,
    BotCommandScopeAllChatAdministrators,
    BotCommandScopeAllGroupChats,
    BotCommandScopeAllPrivateChats,
    BotCommandScopeChat,
)
from telegram.error import BadRequest, Forbidden

from bot.platforms.telegram import texts
from bot.platforms.telegram.context import PLATFORM, TelegramContext
from bot.texts import (
    ABOUT_ABOUT,
    ASK_ABOUT,
    CONSOLE_ABOUT,
    KNOWLEDGE_ABOUT,
    MODE_ABOUT,
    RATE_ABOUT,
    REVIEW_ABOUT,
    STATS_ABOUT,
    Text,
)
from feedback import platform_state
from feedback.words import LANGUAGES

Commands = list[tuple[str, Text]]

ASK: Final[Commands] = [("ask", ASK_ABOUT)]
MEMBERS: Final[Commands] = [
    ("stop", texts.STOP_ABOUT),
    ("mode", MODE_ABOUT),
    ("privacy", texts.PRIVACY_ABOUT),
    ("about", ABOUT_ABOUT),
    ("console", CONSOLE_ABOUT),
    ("help", texts.HELP_ABOUT),
]
ADMINISTRATORS: Final[Commands] = [
    ("review", REVIEW_ABOUT),
    ("rate", RATE_ABOUT),
    ("knowledge", KNOWLEDGE_ABOUT),
    ("adapter", texts.ADAPTER_ABOUT),
    ("settings", texts.SETTINGS_ABOUT),
    ("stats", STATS_ABOUT),
]
OPERATORS: Final[Commands] = [("retrain", texts.RETRAIN_ABOUT)]

log = structlog.get_logger(__name__)


def commands_for(*, private: bool, admin: bool, operator: bool) -> Commands:
    """The commands that somebody may use."""
    return [
        *([] if private else ASK),
        *MEMBERS,
        *(ADMINISTRATORS if admin else []),
        *(OPERATORS if operator else []),
    ]


async def set_menus(context: TelegramContext) -> bool:
    """Upload the commands unless Telegram has them already; whether they were uploaded."""
    menus: list[tuple[BotCommandScope, Commands]] = [
        (BotCommandScopeAllPrivateChats(), commands_for(private=True, admin=False, operator=False)),
        (BotCommandScopeAllGroupChats(), commands_for(private=False, admin=False, operator=False)),
        (BotCommandScopeAllChatAdministrators(), commands_for(private=False, admin=True, operator=False)),
    ]
    payload: list[object] = [
        [scope.type, [(name, *text) for name, text in commands]] for scope, commands in menus
    ]
    payload.append(["operators", list(context.settings.operators)])
    told = hashlib.sha256(json.dumps(payload).encode()).hexdigest()
    key = f"commands:{context.bot.id}"
    async with context.core.database.session(read_only=True) as session:
        if await platform_state.recall(session, PLATFORM, key) == told:
            return False
    for scope, commands in menus:
        await _set(context, scope, commands)
    for operator in context.settings.operators:
        await tell_operator(context, operator)
    async with context.core.database.session() as session:
        await platform_state.remember(session, PLATFORM, key, told)
    return True


async def tell_operator(context: TelegramContext, operator: int) -> None:
    """Set the operator's own menu; Telegram knows their chat only after they have started the bot."""
    try:
        await _set(
            context, BotCommandScopeChat(operator), commands_for(private=True, admin=True, operator=True)
        )
    except (BadRequest, Forbidden) as error:
        log.info("an operator has no private chat with the bot yet", operator=operator, why=error.message)


async def _set(context: TelegramContext, scope: BotCommandScope, commands: Commands) -> None:
    for language in LANGUAGES:
        found = [BotCommand(name, text.say(language)) for name, text in commands]
        # the menu without a language is what everybody else sees
        await context.bot.set_my_commands(found, scope, None if language == "en" else language)
