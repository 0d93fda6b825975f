"""/settings: one panel that shows how the chat is set, and changes each setting by a tap.

What it changes is checked and audited by `bot.commands.settings`. News for moderators (`announcing`) go into
the topic where that was chosen. Defaults are safe: answers only when
asked, no training until it is switched on, which everybody in the chat is told.
"""

from __future__ import annotations

from typing import Any, Final, cast

from telegram import InlineKeyboardMarkup

from bot.access.actor import Actor
from bot.chat.button_codes import ButtonCode
from bot.chat.buttons import Button
from bot.chat.settings import LANGUAGE_NAMES, training_announcement
from bot.commands.settings import Changes, CommunitySettings
from bot.platforms.telegram import texts
from bot.platforms.telegram.buttons import rows
from bot.platforms.telegram.context import Caller, Spot, TelegramContext
from bot.platforms.telegram.permissions import authorised
from bot.platforms.telegram.questions import GENERAL
from bot.texts import (
    MAY_NOT_TRAIN,
    MAY_TRAIN,
    MODES,
    NOT_A_NUMBER,
    OPERATORS_PERSONA,
    OPT_IN,
    TRAINING_SWITCH_OFF,
)

MOST_PERSONA: Final = 200


async def settings(context: TelegramContext, caller: Caller, words: str) -> None:
    """Show the panel, or set what needs to be written out."""
    actor = await authorised(context, caller, "settings.change")
    name, _, value = words.partition(" ")
    value = value.strip()
    if name == "persona":
        await _apply(context, caller, actor, Changes(persona=value))
    elif name == "cooldown" and value.isascii() and value.isdigit():
        await _apply(context, caller, actor, Changes(cooldown_seconds=int(value)))
    elif name == "cooldown":
        await context.say(caller, NOT_A_NUMBER.say(caller.language))
        return
    context.communities.forget(context.place(caller.chat).community)
    await context.say(caller, *_panel(caller, await context.community(caller.chat)))


async def tapped(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Change the setting that the button is about."""
    actor = await authorised(context, caller, "settings.change")
    await context.toast(caller)
    name, _, value = code.detail.partition(".")
    context.communities.forget(context.place(caller.chat).community)
    now = await context.community(caller.chat)
    if name in ("language", "default_mode"):
        await _apply(context, caller, actor, Changes(**cast(Any, {name: value})))
    elif name == "training":
        allowed = value == "on"
        await _apply(context, caller, actor, Changes(training_allowed=allowed))
        if allowed != now.training_allowed and not caller.private:
            spot = Spot(caller.chat.id, caller.spot.thread)
            await context.send(spot, training_announcement(now, allowed=allowed))
    elif name == "every":
        here = _topic(caller)
        own = tuple(topic for topic in now.own_channels if topic != here)
        await _apply(context, caller, actor, Changes(own_channels=(*own, here) if value == "on" else own))
    elif name == "news" and not caller.private:
        await _apply(context, caller, actor, Changes(log_channel=_topic(caller) if value == "on" else ""))
    await context.change(caller, *_panel(caller, await context.community(caller.chat)))


async def _apply(context: TelegramContext, caller: Caller, actor: Actor, changes: Changes) -> None:
    await context.communities.change(context.place(caller.chat), changes, by=actor)


def _panel(caller: Caller, now: CommunitySettings) -> tuple[str, InlineKeyboardMarkup]:
    """The panel: what is set in a few lines, and a button for each choice."""
    language = caller.language
    persona = now.persona or OPERATORS_PERSONA.say(language)
    text = texts.PANEL.say(
        language,
        name=now.name,
        adapter=f"`{now.adapter}`",
        persona=persona if len(persona) <= MOST_PERSONA else persona[:MOST_PERSONA] + "…",
        seconds=now.cooldown_seconds,
        training=(MAY_TRAIN if now.training_allowed else MAY_NOT_TRAIN).say(language),
    )
    names = {"auto": texts.LANGUAGE_AUTO.say(language), **LANGUAGE_NAMES}
    languages = [_choice("language", value, name, now.language) for value, name in names.items()]
    modes = [
        _choice("default_mode", mode, name.say(language), now.default_mode) for mode, name in MODES.items()
    ]
    every = _topic(caller) in now.own_channels
    asked = (texts.EVERY_MESSAGE_OFF if every else texts.EVERY_MESSAGE_ON).say(language)
    here = _topic(caller) == now.log_channel
    news = (texts.NEWS_OFF if here else texts.NEWS_ON).say(language)
    train = (TRAINING_SWITCH_OFF if now.training_allowed else OPT_IN).say(language)
    return text, rows(
        languages,
        modes[:3],
        modes[3:],
        [] if caller.private else [_set("every", "off" if every else "on", asked)],
        [] if caller.private else [_set("news", "off" if here else "on", news)],
        [_set("training", "off" if now.training_allowed else "on", train)],
    )


def _choice(name: str, value: str, label: str, chosen: str) -> Button:
    return _set(name, value, f"✓ {label}" if value == chosen else label)


def _set(name: str, value: str, label: str) -> Button:
    return Button(ButtonCode("set", detail=f"{name}.{value}"), label)


def _topic(caller: Caller) -> str:
    return str(caller.spot.thread or GENERAL)
