"""Buttons and forms that work for ever: what they do is in their id, not in this process's memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, Self, cast

import discord
from discord import ui

from bot.chat.button_codes import PATTERN, Action, ButtonCode
from bot.chat.buttons import Button
from bot.chat.surface import Ending
from bot.platforms.discord.context import (
    Answered,
    DiscordContext,
    Interaction,
    language_of,
    say,
    say_errors_of,
)
from bot.texts import NO_LONGER_THERE, STOP, Text
from feedback.words import Language

EMOJI: Final[dict[Action, str]] = {
    "up": "👍", "down": "👎", "again": "🔄", "continue": "▶️", "stop": "⏹️", "thread": "🧵", "undo": "↩️",
}  # fmt: skip
STYLES: Final[dict[Action, discord.ButtonStyle]] = {
    "approve": discord.ButtonStyle.success,
    "edit": discord.ButtonStyle.primary,
    "reject": discord.ButtonStyle.danger,
    "switch": discord.ButtonStyle.success,
    "forget": discord.ButtonStyle.danger,
    "forgetsure": discord.ButtonStyle.danger,
}
"""How buttons look; all others are grey, and without a picture."""

FORM_SECONDS: Final = 1800


class CodedButton(ui.DynamicItem[ui.Button[Any]], template=PATTERN):
    """A button whose id is a `ButtonCode`; the context knows what each action does."""

    def __init__(self, button: ui.Button[Any], code: ButtonCode | None) -> None:
        super().__init__(button)
        self.code = code

    @classmethod
    async def from_custom_id(cls, interaction: Interaction, item: ui.Item[Any], match: re.Match[str]) -> Self:
        """The button that was pressed, however old its message is."""
        return cls(cast("ui.Button[Any]", item), ButtonCode.parse(match.string))

    async def callback(self, interaction: Interaction) -> None:
        """Do what the code says; every press gets a reply."""
        context = DiscordContext.of(interaction)
        action = context.on_button.get(self.code.action) if self.code else None
        if self.code is None or action is None:
            await say(interaction, NO_LONGER_THERE.say(language_of(interaction)))
            return
        await say_errors_of(interaction, action(context, interaction, self.code))


def row(buttons: Iterable[Button]) -> ui.View:
    """A view of these buttons; it keeps nothing in memory."""
    view = ui.View(timeout=None)
    for one in buttons:
        action = one.code.action
        emoji = EMOJI.get(action)
        button: ui.Button[Any] = ui.Button(
            custom_id=str(one.code),
            label=None if one.label in ("", emoji) else one.label,
            emoji=emoji,
            style=STYLES.get(action, discord.ButtonStyle.secondary),
        )
        view.add_item(CodedButton(button, one.code))
    return view


def stop_button(question_id: str, language: Language) -> ui.View:
    """The buttons under an answer that is being written."""
    return row([Button(ButtonCode("stop", detail=question_id), STOP.say(language))])


def answer_buttons(ending: Ending, language: Language, *, thread: bool) -> ui.View | None:
    """The buttons under a finished answer; with `thread`, also one that moves the talk into a thread."""
    buttons = ending.buttons(language)
    if thread and ending.turn_id is not None:
        buttons.append(Button(ButtonCode("thread", ending.turn_id), ""))
    return row(buttons) if buttons else None


class Form(ui.Modal):
    """A form whose answers go to the context by the code in its id, also after a restart."""

    def __init__(self, code: ButtonCode, title: str, *fields: ui.Label[Any]) -> None:
        super().__init__(title=title[:45], timeout=FORM_SECONDS, custom_id=str(code))
        for one in fields:
            self.add_item(one)
        self.stop()  # so that the library does not keep it: `sent_form` finds the code


def text_field(
    name: str, label: Text, language: Language, *, value: str = "", required: bool, most: int = 4000
) -> ui.Label[Any]:
    """A field for a longer text."""
    return ui.Label(
        text=label.say(language)[:45],
        component=ui.TextInput(
            custom_id=name,
            style=discord.TextStyle.paragraph,
            default=value or None,
            required=required,
            max_length=most,
        ),
    )


async def sent_form(interaction: Interaction) -> None:
    """Carry out a form that was sent; one that is not ours is left alone."""
    data: dict[str, Any] = dict(interaction.data or {})
    code = ButtonCode.parse(str(data.get("custom_id", "")))
    context = DiscordContext.of(interaction)
    action = context.on_form.get(code.action) if code else None
    if code is None or action is None:
        return
    await say_errors_of(interaction, action(context, interaction, code, _answered(data)))


def _answered(data: dict[str, Any]) -> Answered:
    return {
        str(one["custom_id"]): [str(value) for value in one.get("values") or [one.get("value") or ""]]
        for one in _fields(data.get("components", []))
    }


def _fields(components: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for component in components:
        if "value" in component or "values" in component:
            yield component
        inner = component.get("component")
        yield from _fields(component.get("components", []) + ([inner] if inner else []))
