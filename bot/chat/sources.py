"""Where an answer is from: the passages that stood in its prompt, as numbered lines below it.

The numbers are those that the prompt gave its notes, so an answer that says [2] means the second line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.knowledge.knowledge import Source
from bot.knowledge.stems import stems
from bot.texts import APPROVED_SOURCE, SOURCE_PAGE, SOURCES
from feedback.tables import Community, Conversation, Turn
from feedback.words import Language

MOST_TITLE: Final = 90
"""Characters of a source's name; a footnote is one line."""

LEAST_WORDS: Final = 3
"""A sentence of fewer different words is in many answers by chance."""
TAKEN_OVER: Final = 0.6
"""The share of a sentence's words that an answer has that took it over."""

_MARKUP: Final = re.compile(r"([\\`*_~|<>\[\]()#])")
_GROUP_MESSAGE: Final = re.compile(r"-100(?P<chat>\d+)-(?P<message>\d+)")
"""A message of a Telegram supergroup as the record names it; other chats' messages have no address."""
_SNOWFLAKE: Final = re.compile(r"[0-9]{1,20}")


def name_of(source: Source, language: Language) -> str:
    """What a source is called: a document with its headings and page, or the moderators' answer."""
    if source.kind == "approved":
        said = APPROVED_SOURCE.say(language, question=_shortened(source.question))
    else:
        headings = [one for one in source.title_path if one != source.title]
        said = _shortened(" › ".join([source.title, *headings]))
        if source.page is not None:
            said += f", {SOURCE_PAGE.say(language, page=source.page)}"
    return said


def footnotes(sources: Sequence[Source], language: Language) -> str:
    """The sources of an answer, numbered, in Markdown; "" where there are none."""
    lines = []
    for number, source in enumerate(sources, 1):
        name = _MARKUP.sub(r"\\\1", name_of(source, language))
        linked = f"[{name}]({_in_brackets(source.link)})" if source.link else name
        lines.append(f"{number}. {linked}")
    return "\n".join([f"**{SOURCES.say(language)}**", *lines]) if lines else ""


def lines(sources: Sequence[Source], language: Language) -> list[str]:
    """The sources of an answer as a terminal shows them: number, name, address."""
    return [f"[{at}] {name_of(one, language)} {one.link}".rstrip() for at, one in enumerate(sources, 1)]


def taken_over(answer: str, language: str) -> Callable[[str], bool]:
    """Says of a sentence of a source whether the answer took it over: most of its words stand there."""
    said = set(stems(answer, language))

    def is_taken_over(sentence: str) -> bool:
        words = set(stems(sentence, language))
        return len(words) >= LEAST_WORDS and len(words & said) >= TAKEN_OVER * len(words)

    return is_taken_over


async def with_links(session: AsyncSession, sources: Sequence[Source]) -> tuple[Source, ...]:
    """The same, each approved answer with the address of its question where the platform has one."""
    turns = [source.turn_id for source in sources if source.turn_id is not None and not source.link]
    if not turns:
        return tuple(sources)
    rows = await session.exec(
        select(Turn.id, Turn.external_id, Conversation.external_id, Community)
        .join(Conversation, col(Conversation.id) == Turn.conversation_id)
        .join(Community, col(Community.id) == Turn.community_id)
        .where(col(Turn.id).in_(turns))
    )
    links = {
        turn_id: _telegram_link(message)
        if community.platform == "telegram"
        else _discord_link(community.external_id, conversation, message)
        if community.platform == "discord"
        else ""
        for turn_id, message, conversation, community in rows.all()
    }
    return tuple(replace(one, link=one.link or links.get(one.turn_id, "")) for one in sources)


def _telegram_link(message: str) -> str:
    found = _GROUP_MESSAGE.fullmatch(message)
    return f"https://t.me/c/{found['chat']}/{found['message']}" if found else ""


def _discord_link(guild: str, conversation: str, message: str) -> str:
    """The message on a server; a conversation's id begins with its channel's. Direct messages have none."""
    ids = (guild, conversation.partition("/")[0], message)
    return f"https://discord.com/channels/{'/'.join(ids)}" if all(map(_SNOWFLAKE.fullmatch, ids)) else ""


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_TITLE else f"{line[: MOST_TITLE - 1].rstrip()}…"


def _in_brackets(link: str) -> str:
    """The address so that no bracket or space of it ends the link."""
    return link.replace("(", "%28").replace(")", "%29").replace(" ", "%20")
