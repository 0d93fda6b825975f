"""Whether a question is answered now: it is still open, and its member's cooldown is over.

Questions of one member are looked at in the order in which they came, so that of two sent at once the first
is answered. For that to hold, platforms wait for nothing else before they ask here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bot.assistant import Place
from bot.chat.context import ChatContext
from bot.commands.settings import language_for
from bot.texts import COOLDOWN
from feedback.words import Language


@dataclass(frozen=True)
class Admission:
    """What to do with a question, in its `language`: answer it, or show the `notice` instead."""

    language: Language
    notice: str = ""


async def admit(
    context: ChatContext,
    place: Place,
    member: str,
    question: str,
    text: str,
    *,
    room: str = "",
    free: bool = False,
) -> Admission | None:
    """Look at a question of that platform id and text; None when it has had its answer.

    `room` is where a burst counts, the community unless it is given. A `free` question starts no cooldown
    and waits for none.
    """
    async with context.keyed_lock.of("admission", room or place.community, member):
        if not await context.answers.wants(place, question):
            return None
        return await _cooled_down(context, place, member, text, room, free)


async def admit_anew(
    context: ChatContext, place: Place, member: str, text: str, *, room: str = ""
) -> Admission:
    """As `admit`, for a question that a command or button asks, which is a new one every time."""
    async with context.keyed_lock.of("admission", room or place.community, member):
        return await _cooled_down(context, place, member, text, room, False)


async def _cooled_down(
    context: ChatContext, place: Place, member: str, text: str, room: str, free: bool
) -> Admission:
    settings = await context.communities.settings(place)
    language = language_for(settings.language, text)
    wait = 0.0
    if not free:
        wait = context.cooldowns.take(room or place.community, member, settings.cooldown_seconds)
    return Admission(language, COOLDOWN.say(language, seconds=math.ceil(wait)) if wait > 0 else "")
