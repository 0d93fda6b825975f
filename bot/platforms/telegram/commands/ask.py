"""/ask, /mode and /stop: what every member needs."""

from __future__ import annotations

from bot.chat.button_codes import ButtonCode
from bot.chat.buttons import Button
from bot.chat.settings import set_mode
from bot.platforms.telegram import texts
from bot.platforms.telegram.answering import answer_message
from bot.platforms.telegram.buttons import rows
from bot.platforms.telegram.context import Caller, TelegramContext
from bot.platforms.telegram.feedback import stop_mine
from bot.platforms.telegram.questions import after_command, question_text
from bot.texts import MODES
from feedback.words import Mode


async def ask(context: TelegramContext, caller: Caller, words: str) -> bool:
    """Answer what stands after the command. Returns as `answering.answer`."""
    asked = after_command(question_text(caller.message, context.bot.bot))
    if asked:
        return await answer_message(context, caller, text=asked)
    await context.say(caller, texts.ASK_HOW.say(caller.language))
    return False


async def stop(context: TelegramContext, caller: Caller, words: str) -> None:
    """Stop the caller's answers."""
    await stop_mine(context, caller)


async def mode(context: TelegramContext, caller: Caller, words: str) -> None:
    """Set the caller's own mode, by its name or by a button."""
    if words in MODES:
        await context.say(caller, await _set(context, caller, words))
        return
    buttons = [
        Button(ButtonCode("mode", detail=name), text.say(caller.language)) for name, text in MODES.items()
    ]
    await context.say(caller, texts.WHICH_MODE.say(caller.language), rows(buttons[:3], buttons[3:]))


async def mode_tapped(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Set the mode of whoever tapped."""
    if code.detail in MODES:
        await context.toast(caller, await _set(context, caller, code.detail), alert=True)


async def _set(context: TelegramContext, caller: Caller, chosen: Mode) -> str:
    return await set_mode(
        context, context.place(caller.chat), context.member(caller), chosen, caller.language
    )
