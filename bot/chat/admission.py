"""Whether a question is answered now: it is still open, and its member's cooldown is over.

Questions of one member are looked at in the order in which they came, so that of two sent at once the first
is answered. For that to hold, platforms wait for nothing else before they ask here.
While the record is away, a question waits for it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from bot.chat.arrivals import Arrival
from bot.chat.context import ChatContext
from bot.commands.settings import CommunitySettings, language_for
from bot.questions import Place
from bot.texts import COOLDOWN
from feedback.words import Language


@dataclass(frozen=True)
class Admission:
    """What to do with a question, in its `language`: answer it, or show the `notice` instead.

    `conversation` and `answers` are what its arrival found (see `Arrival`).
    """

    language: Language
    notice: str = ""
    conversation: str | None = None
    answers: int = 0


async def admit(
    context: ChatContext,
    place: Place,
    member: str,
    text: str,
    look: Callable[[], Awaitable[Arrival]],
    promise: Callable[[], Awaitable[None]],
    *,
    room: str = "",
    free: bool = False,
) -> Admission | None:
    """Look up a question of that text with `look`; None when it has had its answer.

    `room` is where a burst counts, the community unless it is given. A `free` question starts no cooldown
    and waits for none; so does one that was given the `promise` of an answer while the record was away.
    """
    promised = False

    async def promise_once() -> None:
        nonlocal promised
        promised = True
        await promise()

    async with context.keyed_lock.of("admission", room or place.community, member):
        arrival = await context.record_waits.done(look, promise_once)
        if not arrival.wanted:
            return None
        admission = _cooled_down(context, place, arrival.community, member, text, room, free or promised)
        return replace(admission, conversation=arrival.conversation, answers=arrival.answers)


async def admit_anew(
    context: ChatContext, place: Place, member: str, text: str, *, room: str = ""
) -> Admission:
    """As `admit`, for a question that a command or button asks, which is a new one every time."""
    async with context.keyed_lock.of("admission", room or place.community, member):
        settings = await context.communities.settings(place)
        return _cooled_down(context, place, settings, member, text, room, False)


def _cooled_down(
    context: ChatContext,
    place: Place,
    settings: CommunitySettings,
    member: str,
    text: str,
    room: str,
    free: bool,
) -> Admission:
    language = language_for(settings.language, text)
    wait = 0.0
    if not free:
        wait = context.cooldowns.take(room or place.community, member, settings.cooldown_seconds)
    return Admission(language, COOLDOWN.say(language, seconds=math.ceil(wait)) if wait > 0 else "")
