"""/privacy: what is kept, staying out of training, having one's data, being forgotten.

It is talked about in private only; in a group, a button leads there.
"""

from __future__ import annotations

import json

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, InputFile

from bot.chat.button_codes import ButtonCode
from bot.commands import privacy as members
from bot.platforms.telegram import open_questions, texts
from bot.platforms.telegram.buttons import button, rows
from bot.platforms.telegram.context import PLATFORM, Caller, TelegramContext, explained
from bot.platforms.telegram.permissions import refused_administration
from bot.texts import (
    CANCEL,
    CANCELLED,
    EXPORT,
    FORGET,
    FORGET_ME,
    FORGET_SURE,
    FORGOTTEN,
    MAY_NOT_TRAIN,
    MAY_TRAIN,
    NOTHING_KEPT,
    OPT_IN,
    OPT_OUT,
    WHAT_IS_KEPT,
    YOU_ARE_IN,
    YOU_ARE_OUT,
)


async def privacy(context: TelegramContext, caller: Caller, words: str) -> None:
    """Say what is kept, with buttons for everything a member may decide."""
    if not caller.private:
        link = f"https://t.me/{context.bot.username}?start=privacy"
        open_private = InlineKeyboardButton(texts.OPEN_PRIVATE.say(caller.language), url=link)
        await context.say(
            caller, texts.IN_PRIVATE.say(caller.language), InlineKeyboardMarkup([[open_private]])
        )
        return
    await context.say(caller, *await _panel(context, caller))


async def opt(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Stay out of training, or come in again."""
    await members.set_opted_out(
        context.core.database, PLATFORM, _pseudonym(context, caller), code.action == "optout"
    )
    await context.toast(caller)
    await context.change(caller, *await _panel(context, caller))


async def export(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Hand over everything kept about the member, as a file."""
    if not caller.private:
        return
    await context.toast(caller)
    found = await members.export(context.core.database, PLATFORM, _pseudonym(context, caller))
    if found is None:
        await context.say(caller, NOTHING_KEPT.say(caller.language))
        return
    data = json.dumps(found, ensure_ascii=False, indent=1).encode()
    with explained():
        await context.bot.send_document(
            caller.chat.id,
            InputFile(data, filename="my-data.json"),
            caption=EXPORT.say(caller.language),
            message_thread_id=caller.spot.thread,
        )


async def forget(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Ask once more before everything is erased."""
    await context.toast(caller)
    sure = button(ButtonCode("forgetsure", 0), FORGET_ME.say(caller.language))
    no = button(ButtonCode("cancel", 0), CANCEL.say(caller.language))
    await context.change(caller, FORGET_SURE.say(caller.language), rows([sure, no]))


async def forget_sure(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Erase what the member said, and stop what is being said to them."""
    await context.toast(caller)
    database = context.core.database
    for live in context.answers.all():
        if live.question.member == caller.member:
            live.interrupt("stopped")
    for one in await open_questions.all_open(database):
        if one.member == caller.member:
            await open_questions.drop(database, one.external_id)
    done = await members.forget(database, PLATFORM, _pseudonym(context, caller))
    language = caller.language
    text = FORGOTTEN.say(language, turns=done.turns) if done else NOTHING_KEPT.say(language)
    await context.change(caller, text)


async def cancel(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Leave everything as it is; what an administrator was asked in a group, an administrator cancels."""
    if not caller.private and await refused_administration(context, caller):
        return
    await context.toast(caller)
    await context.change(caller, CANCELLED.say(caller.language))


async def _panel(context: TelegramContext, caller: Caller) -> tuple[str, InlineKeyboardMarkup]:
    language = caller.language
    out = await members.is_opted_out(context.core.database, PLATFORM, _pseudonym(context, caller))
    allowed = (await context.community(caller.chat)).training_allowed
    kept = WHAT_IS_KEPT.say(language, training=(MAY_TRAIN if allowed else MAY_NOT_TRAIN).say(language))
    mine = (YOU_ARE_OUT if out else YOU_ARE_IN).say(language)
    opting = button(ButtonCode("optin" if out else "optout", 0), (OPT_IN if out else OPT_OUT).say(language))
    return f"{kept}\n\n{mine}", rows(
        [opting],
        [
            button(ButtonCode("export", 0), EXPORT.say(language)),
            button(ButtonCode("forget", 0), FORGET.say(language)),
        ],
    )


def _pseudonym(context: TelegramContext, caller: Caller) -> str:
    return context.core.pseudonym(PLATFORM, caller.member)
