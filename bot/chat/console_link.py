"""The link that signs a member of a platform in to the web console, as a chat says it."""

from __future__ import annotations

from dataclasses import replace

from bot.access import sign_in
from bot.access.actor import Actor
from bot.core import Core
from bot.texts import CONSOLE_LINK
from feedback.sign_in import LINK_FOR
from feedback.words import Language


async def console_link(
    core: Core, actor: Actor, *, external_id: str, everywhere: bool, language: Language
) -> str:
    """What is said to whoever asked for a link; `everywhere` is for operators, whose communities are all.

    Raises ConsoleNotReachable.
    """
    if everywhere:
        actor = replace(actor, community_id=None)
    link = await sign_in.link(core.database, core.console_url, actor, external_id=external_id)
    return CONSOLE_LINK.say(language, minutes=int(LINK_FOR.total_seconds() // 60), link=link)
