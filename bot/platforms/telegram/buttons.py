"""Inline keyboards: what a button does is in its code, not in this process's memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Message

from bot.chat.button_codes import Action, ButtonCode
from bot.chat.buttons import Button
from bot.chat.surface import Ending
from bot.texts import REASONS, STOP
from feedback.words import VOTE_REASONS, Language

EMOJI: Final[dict[Action, str]] = {
    "again": "🔄", "anew": "🔄", "continue": "▶", "stop": "⏹",
    "approve": "✅", "edit": "✏️", "reject": "❌", "undo": "↩",
}  # fmt: skip
"""What stands before a button's label."""


def rows(*lines: Iterable[Button]) -> InlineKeyboardMarkup:
    """A keyboard of these rows."""
    drawn = [[_drawn(one) for one in line] for line in lines]
    return InlineKeyboardMarkup([line for line in drawn if line])


def stop_button(question_id: str, language: Language) -> InlineKeyboardMarkup:
    """The button under an answer that is being written."""
    return rows([Button(ButtonCode("stop", detail=question_id), STOP.say(language))])


def answer_buttons(ending: Ending, language: Language) -> InlineKeyboardMarkup | None:
    """The buttons under a finished answer."""
    buttons = ending.buttons(language)
    return rows(buttons) if buttons else None


def reason_buttons(turn_id: int, language: Language, chosen: str = "") -> InlineKeyboardMarkup:
    """What may have been wrong with an answer, two to a row; `chosen` is marked."""
    made = [
        Button(
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


def _drawn(button: Button) -> InlineKeyboardButton:
    emoji = EMOJI.get(button.code.action, "")
    return InlineKeyboardButton(f"{emoji} {button.label}".strip(), callback_data=str(button.code))
