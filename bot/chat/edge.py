"""The outermost edge of what members do: a sentence tells them what went wrong, the log has the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from bot.chat.surface import MayNotWrite, MessageGone
from bot.disclosure import sentence_for_member
from feedback.words import Language

Result = TypeVar("Result")
Tell = Callable[[str], Awaitable[None]]
"""Shows a sentence to the member."""

log = structlog.get_logger(__name__)


async def guarded(work: Awaitable[Result], language: Language, tell: Tell | None) -> Result | None:
    """Do what a member asked for, and tell them what goes wrong; what came of it, None where it went wrong.

    `tell` None is where there is no place to say it.
    """
    try:
        return await work
    except Exception as error:  # the outermost edge: the member must hear of it, and the others are served on
        await tell_error(error, language, tell)
        return None


async def tell_error(error: Exception, language: Language, tell: Tell | None) -> None:
    """Tell a member what went wrong: our own errors speak, others get a reference that the log explains.

    Raises nothing, whatever the platform does.
    """
    if isinstance(error, MayNotWrite | MessageGone):
        log.info("a chat is closed to us")
        return
    text = sentence_for_member(error, language)
    if tell is None:
        return
    try:
        await tell(text)
    except Exception as refused:  # nobody is left to be told; the log has it all
        log.warning("a member could not be told what went wrong", said=text, why=str(refused))
