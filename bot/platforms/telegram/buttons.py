"""Inline keyboards: what a button does stands in its code, not in this process's memory."""

from __future__ import annotations

from typing import Final

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Message

from bot.chat.button_codes import Action, ButtonCode
from bot.chat.surface import Ending
from bot.texts import REASONS, REGENERATE, STOP
from feedback.words import VOTE_REASONS, Language

THUMBS: Final[dict[str, Action]] = {"👍": "up", "👎": "down"}

Button = InlineKeyboardButton


def button(code: ButtonCode, label: str) -> Button:
    """A button for that code."""
    return InlineKeyboardButton(label, callback_data=str(code))


def rows(*lines: list[Button]) -> InlineKeyboardMarkup:
    """A keyboard of these rows."""
    return InlineKeyboardMarkup([line for line in lines if line])


def stop_button(question_id: str, language: Language) -> InlineKeyboardMarkup:
    """What stands under an answer while it is being written."""
    return rows([button(ButtonCode("stop", 0, question_id), f"⏹ {STOP.say(language)}")])


def answer_buttons(ending: Ending, language: Language) -> InlineKeyboardMarkup | None:
    """What stands under an answer for good."""
    if ending.turn_id is None:
        return None
    thumbs = [button(ButtonCode(action, ending.turn_id), thumb) for thumb, action in THUMBS.items()]
    again = button(ButtonCode("again", ending.turn_id), f"🔄 {REGENERATE.say(language)}")
    return rows([*thumbs, again])


def reason_buttons(turn_id: int, language: Language, chosen: str = "") -> InlineKeyboardMarkup:
    """What may have been wrong with an answer, two to a row; `chosen` is marked."""
    made = [
        button(
            ButtonCode("reason", turn_id, str(number)),
            ("✓ " if reason == chosen else "") + REASONS[reason].say(language),
        )
        for number, reason in enumerate(VOTE_REASONS)
    ]
    return rows(made[:2], made[2:])


def code_on(message: Message, action: Action) -> ButtonCode | None:
    """The first code of that action on a message's keyboard."""
    for line in message.reply_markup.inline_keyboard if message.reply_markup else ():
        for one in line:
            code = ButtonCode.parse(str(one.callback_data or ""))
            if code is not None and code.action == action:
                return code
    return None
