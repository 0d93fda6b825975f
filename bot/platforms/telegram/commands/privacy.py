"""/privacy: what is kept, staying out of training, having one's data, being forgotten.

It is talked about in private only; in a group, a button leads there.
"""

from __future__ import annotations

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, InputFile

from bot.chat import privacy as members
from bot.chat.button_codes import ButtonCode
from bot.commands.privacy import set_opted_out
from bot.platforms.telegram import texts
from bot.platforms.telegram.buttons import rows
from bot.platforms.telegram.context import Caller, TelegramContext, explained
from bot.platforms.telegram.permissions import authorised
from bot.texts import CANCELLED, EXPORT, FORGET_SURE, NOTHING_KEPT


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
    await set_opted_out(context.core.database, context.member(caller), code.action == "optout")
    await context.toast(caller)
    await context.change(caller, *await _panel(context, caller))


async def export(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Hand over everything kept about the member, as a file."""
    if not caller.private:
        return
    await context.toast(caller)
    data = await members.export(context, context.member(caller))
    if data is None:
        await context.say(caller, NOTHING_KEPT.say(caller.language))
        return
    with explained():
        await context.bot.send_document(
            caller.chat.id,
            InputFile(data, filename=members.FILE_NAME),
            caption=EXPORT.say(caller.language),
            message_thread_id=caller.spot.thread,
        )


async def forget(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Ask once more before everything is erased."""
    await context.toast(caller)
    sure = members.sure_buttons(caller.language)
    await context.change(caller, FORGET_SURE.say(caller.language), rows(sure))


async def forget_sure(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Erase what the member said, and stop what is being said to them."""
    await context.toast(caller)
    await context.change(caller, await members.forget(context, context.member(caller), caller.language))


async def cancel(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Leave everything as it is; what an administrator was asked in a group, an administrator cancels."""
    if not caller.private:
        await authorised(context, caller, "adapter.switch")
    await context.toast(caller)
    await context.change(caller, CANCELLED.say(caller.language))


async def _panel(context: TelegramContext, caller: Caller) -> tuple[str, InlineKeyboardMarkup]:
    text, (opting, *others) = await members.panel(
        context, context.place(caller.chat), context.member(caller), caller.language
    )
    return text, rows([opting], others)
