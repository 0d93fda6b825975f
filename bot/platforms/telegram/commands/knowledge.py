"""/knowledge: what a chat gives its bot to read; for administrators.

A file is added by sending it with the command as its caption, or by answering its message with the command.
"""

from __future__ import annotations

from bot.chat import documents
from bot.knowledge.documents.library import Given, Upload
from bot.platforms.telegram import texts
from bot.platforms.telegram.context import Caller, TelegramContext
from bot.platforms.telegram.permissions import authorised
from bot.platforms.telegram.questions import attachments_of

MOST_CHARACTERS = 4000


async def knowledge(context: TelegramContext, caller: Caller, words: str) -> None:
    """Do what the words after the command say."""
    actor = await authorised(context, caller, "documents.manage")
    community = (await context.community(caller.chat)).community_id
    language = caller.language
    what, _, named = (part.strip() for part in words.partition(" "))
    if what == "add" and (given := await _given(context, caller, named)) is not None:
        said = await documents.add(context, actor, community, given, language)
    elif what in ("", "list"):
        said = await documents.listed(context, actor, community, language)
    elif what == "show" and named:
        said = await documents.shown(context, actor, community, named, language)
    elif what == "remove" and named:
        said = await documents.remove(context, actor, community, named, language)
    elif what == "refresh":
        said = await documents.refresh(context, actor, community, named or None, language)
    else:
        said = texts.KNOWLEDGE_USAGE.say(language)
    await context.say(caller, said[:MOST_CHARACTERS])


async def _given(context: TelegramContext, caller: Caller, named: str) -> Given | None:
    """The address after the command, or the file that it stands under or answers."""
    if named:
        return named
    for message in (caller.message, getattr(caller.message, "reply_to_message", None)):
        if message is None or getattr(message, "document", None) is None:
            continue
        (attached,) = attachments_of(context, message)
        content = await attached.read()
        if content is not None:
            return Upload(attached.name.en, content)
    return None
