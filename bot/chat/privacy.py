"""/privacy: what is kept about a member, and the buttons for everything that they may decide about it."""

from __future__ import annotations

import json

from bot.access.actor import Actor
from bot.chat.button_codes import ButtonCode
from bot.chat.buttons import Button
from bot.chat.context import ChatContext
from bot.commands import privacy as members
from bot.questions import Place
from bot.texts import (
    CANCEL,
    EXPORT,
    FORGET,
    FORGET_ME,
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
from feedback.words import Language

FILE_NAME = "my-data.json"


async def panel(
    context: ChatContext, place: Place, member: Actor, language: Language
) -> tuple[str, list[Button]]:
    """What is kept, and what the member may decide."""
    out = await members.is_opted_out(context.core.database, member)
    allowed = (await context.communities.settings(place)).training_allowed
    kept = WHAT_IS_KEPT.say(language, training=(MAY_TRAIN if allowed else MAY_NOT_TRAIN).say(language))
    mine = (YOU_ARE_OUT if out else YOU_ARE_IN).say(language)
    return f"{kept}\n\n{mine}", [
        Button(ButtonCode("optin" if out else "optout"), (OPT_IN if out else OPT_OUT).say(language)),
        Button(ButtonCode("export"), EXPORT.say(language)),
        Button(ButtonCode("forget"), FORGET.say(language)),
    ]


async def export(context: ChatContext, member: Actor) -> bytes | None:
    """Everything kept about the member as JSON; None when that is nothing."""
    found = await members.export(context.core.database, member)
    return None if found is None else json.dumps(found, ensure_ascii=False, indent=1).encode()


def sure_buttons(language: Language) -> list[Button]:
    """Yes and no to erasing everything."""
    return [
        Button(ButtonCode("forgetsure"), FORGET_ME.say(language)),
        Button(ButtonCode("cancel"), CANCEL.say(language)),
    ]


async def forget(context: ChatContext, member: Actor, language: Language) -> str:
    """Stop the member's answers under way and erase their words; a sentence that says what was erased."""
    for live in context.answers.all():
        asker = context.core.pseudonym(live.question.place.platform, live.question.member)
        if asker == member.pseudonym:
            live.interrupt("stopped")
    done = await members.forget(context.core.database, member)
    return FORGOTTEN.say(language, turns=done.turns) if done else NOTHING_KEPT.say(language)
